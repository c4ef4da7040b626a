/** The one table of Services at creation with which each means of labelling them is tested. */

export interface Vector {
  readonly title: string
  readonly namespace: keyof typeof namespaces
  readonly labels?: Readonly<Record<string, string>>
  readonly spec?: Readonly<Record<string, unknown>>
  /** The value of service.kubernetes.io/service-proxy-name afterwards. */
  readonly expected: string | undefined
}

/** The namespaces of the vectors and their labels. */
export const namespaces = {
  shop: {},
  'opted-out': { lightpath: 'disabled' },
  'other-value': { lightpath: 'enabled' },
  'lightpath-system': {},
  'kube-system': {},
  'cert-manager': {},
} as const satisfies Record<string, Readonly<Record<string, string>>>

const proxyName = 'service.kubernetes.io/service-proxy-name'
const ours = 'lightpath.cloud'

export const vectors: readonly Vector[] = [
  { title: 'a Service without labels', namespace: 'shop', expected: ours },
  { title: 'a Service with labels of its own', namespace: 'shop', labels: { app: 'a', 'x/y': 'b' }, expected: ours },
  { title: 'a NodePort Service', namespace: 'shop', spec: { type: 'NodePort' }, expected: ours },
  { title: 'a LoadBalancer Service', namespace: 'shop', spec: { type: 'LoadBalancer' }, expected: ours },
  { title: 'a Service of another proxy', namespace: 'shop', labels: { [proxyName]: 'cilium' }, expected: 'cilium' },
  { title: 'a Service that has the label already', namespace: 'shop', labels: { [proxyName]: ours }, expected: ours },
  { title: 'a Service of the proxy without a name', namespace: 'shop', labels: { [proxyName]: '' }, expected: '' },
  {
    title: 'a Service that opted out',
    namespace: 'shop',
    labels: { 'lightpath.cloud/proxy': 'disabled' },
    expected: undefined,
  },
  {
    title: 'a Service whose opt-out label says something else',
    namespace: 'shop',
    labels: { 'lightpath.cloud/proxy': 'enabled' },
    expected: ours,
  },
  { title: 'a Service in a namespace that opted out', namespace: 'opted-out', expected: undefined },
  {
    title: 'a Service of another proxy in a namespace that opted out',
    namespace: 'opted-out',
    labels: { [proxyName]: 'cilium' },
    expected: 'cilium',
  },
  { title: 'a Service in a namespace whose label says something else', namespace: 'other-value', expected: ours },
  { title: 'a Service in lightpath-system', namespace: 'lightpath-system', expected: undefined },
  { title: 'a Service in kube-system', namespace: 'kube-system', expected: undefined },
  { title: 'a Service in cert-manager', namespace: 'cert-manager', expected: undefined },
  { title: 'a headless Service', namespace: 'shop', spec: { clusterIP: 'None' }, expected: undefined },
  {
    title: 'an ExternalName Service',
    namespace: 'shop',
    spec: { type: 'ExternalName', externalName: 'shop.example.com' },
    expected: undefined,
  },
]

/** Makes the Service that a vector creates. */
export function serviceOf(vector: Vector, name: string) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, ...(vector.labels && { labels: vector.labels }) },
    spec: { ports: [{ name: 'http', port: 80 }], ...vector.spec },
  }
}
