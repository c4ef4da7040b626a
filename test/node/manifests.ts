/** Service and EndpointSlice manifests, as kubectl shows them, cut to what matters. */

export interface ServiceOptions {
  readonly name: string
  /** Default: default. */
  readonly namespace?: string
  /** One of each family at most. */
  readonly vips: readonly string[]
  /** Default: the http port. */
  readonly ports?: readonly PortOptions[]
  /** `overlay` becomes `config.lightpath.cloud/http-overlay` where the port is called http. */
  readonly settings?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  /** More of `spec`. */
  readonly spec?: Readonly<Record<string, unknown>>
}

export interface PortOptions {
  readonly name: string
  readonly port: number
  readonly targetPort: number
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
  readonly nodePort?: number
  readonly appProtocol?: string
}

/** What an EndpointSlice says of a pod; a `Pod` of the lab is one. */
export interface Endpoint {
  readonly name: string
  readonly node: string
  readonly ip: string
  readonly ip6: string
  /** Default: ready. */
  readonly state?: 'ready' | 'unready' | 'draining'
}

/** Where the pods of the lab answer. */
export const http: PortOptions = { name: 'http', port: 80, targetPort: 8080 }
export const echo: PortOptions = { name: 'echo', port: 7, targetPort: 7 }
export const dns: PortOptions = { name: 'dns', port: 53, targetPort: 53, protocol: 'UDP' }

/** A Service and an EndpointSlice for each of its families. */
export function serviceWith(options: ServiceOptions, endpoints: readonly Endpoint[]): readonly object[] {
  const families = options.vips.map(vip => (vip.includes(':') ? 'IPv6' : 'IPv4'))
  return [service(options), ...families.map(family => slice(options, endpoints, family))]
}

export function service(options: ServiceOptions): object {
  const { name, namespace = 'default', vips, ports = [http], settings = {}, labels, spec } = options
  const annotations = ports.flatMap(port =>
    Object.entries(settings).map(([setting, value]) => [`config.lightpath.cloud/${port.name}-${setting}`, value]),
  )
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels, annotations: Object.fromEntries(annotations) },
    spec: {
      type: 'ClusterIP',
      clusterIP: vips[0],
      clusterIPs: vips,
      ports: ports.map(port => ({ protocol: 'TCP', ...port })),
      ...spec,
    },
  }
}

export function slice(
  { name, namespace = 'default', ports = [http] }: ServiceOptions,
  endpoints: readonly Endpoint[],
  family: 'IPv4' | 'IPv6' = 'IPv4',
): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family,
    ports: ports.map(port => ({ name: port.name, protocol: port.protocol ?? 'TCP', port: port.targetPort })),
    endpoints: endpoints.map(endpoint => ({
      addresses: [family === 'IPv4' ? endpoint.ip : endpoint.ip6],
      conditions: conditions[endpoint.state ?? 'ready'],
      nodeName: endpoint.node,
      targetRef: { kind: 'Pod', namespace, name: endpoint.name },
    })),
  }
}

const conditions = {
  ready: { ready: true, serving: true, terminating: false },
  unready: { ready: false, serving: false, terminating: false },
  draining: { ready: false, serving: true, terminating: true },
} as const
