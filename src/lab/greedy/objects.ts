/** One tenant's Services, each of which would take from others a resource that all share on a node. */

const greedy = 'greedy'

/** A Service that fails every request (client.ts sends them). */
export const failingVip = '10.96.20.3'

export const modestVip = '10.96.21.1'

interface PodAddress {
  readonly name: string
  readonly ip: string
}

interface Port {
  readonly name: string
  readonly port: number
}

const http: readonly Port[] = [{ name: 'http', port: 80 }]
const ports = (count: number, first: number): readonly Port[] =>
  Array.from({ length: count }, (_, i) => ({ name: `http-${i}`, port: first + i }))

/** The objects at the start, by name of a file: the pod answers for all of them. */
export function greedyServices(pod: PodAddress): Readonly<Record<string, readonly object[]>> {
  const words = Array.from({ length: 9000 }, (_, i) => [`config.lightpath.cloud/http-word-${i}`, 'x'])
  return {
    numbers: serviceOf('numbers', '10.96.20.1', ports(10_000, 10_000), {}, [pod]),
    words: serviceOf('words', '10.96.20.2', http, Object.fromEntries(words), [pod]),
    failing: serviceOf('failing', failingVip, http, { 'config.lightpath.cloud/http-num-retries': '100' }, [pod]),
    eager: serviceOf(
      'eager',
      '10.96.20.4',
      http,
      {
        'config.lightpath.cloud/http-outlier-detection-interval': '1ms',
        'config.lightpath.cloud/http-circuit-breaker-default-max-retries': '4294967295',
      },
      [pod],
    ),
  }
}

/** The objects that change again and again: a setting of a listener, and one of 1,000 endpoints of 100 ports. */
export function greedyChanges(turn: number, pod: PodAddress): Readonly<Record<string, readonly object[]>> {
  const crowd = Array.from({ length: 999 }, (_, i) => ({ name: `crowd-${i}`, ip: `10.245.${i >> 8}.${i & 255}` }))
  const idle = { 'config.lightpath.cloud/http-idle-timeout': `${100 + turn}s` }
  return {
    turning: serviceOf('turning', '10.96.20.5', http, idle, [pod]),
    matrix: serviceOf('matrix', '10.96.20.6', ports(100, 8000), {}, turn % 2 === 0 ? [pod, ...crowd] : crowd),
  }
}

/** Another tenant's Service, at `modestVip`. */
export function modestService(pods: readonly PodAddress[]): readonly object[] {
  return serviceOf('modest', modestVip, http, {}, pods, 'modest')
}

function serviceOf(
  name: string,
  clusterIP: string,
  ports: readonly Port[],
  annotations: Readonly<Record<string, string>>,
  pods: readonly PodAddress[],
  namespace = greedy,
): readonly object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace, annotations },
      spec: { type: 'ClusterIP', clusterIP, ports },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: ports.map(({ name }) => ({ name, port: 8080 })),
      endpoints: pods.map(pod => ({
        addresses: [pod.ip],
        conditions: { ready: true },
        nodeName: 'node1',
        targetRef: { kind: 'Pod', namespace, name: pod.name },
      })),
    },
  ]
}
