/** What takes a client's connections to endpoints, beside one another in one run. */

/** What runs on a node. */
export type ProxyKind = 'nftables' | 'iptables' | 'lightpath'

export interface Variant {
  readonly name: string
  readonly proxy: ProxyKind
  /** Settings of its Services' port `http`, as annotations have them. */
  readonly settings?: Readonly<Record<string, string>>
  /** Lightpath's layer that is to serve it. */
  readonly layer?: 'envoy' | 'kernel'
  /** Clients have the addresses of the endpoints, and no VIP. */
  readonly direct?: boolean
}

export const variants = {
  nftables: { name: 'kube-proxy, nftables', proxy: 'nftables' },
  iptables: { name: 'kube-proxy, iptables', proxy: 'iptables' },
  roundRobin: {
    name: 'Lightpath, round robin',
    proxy: 'lightpath',
    layer: 'envoy',
    settings: { 'lb-policy': 'ROUND_ROBIN' },
  },
  leastRequest: { name: 'Lightpath, least request', proxy: 'lightpath', layer: 'envoy' },
  peakEwma: {
    name: 'Lightpath, peak EWMA',
    proxy: 'lightpath',
    layer: 'envoy',
    settings: { 'lb-policy': 'PEAK_EWMA' },
  },
  /** Beside the other, what noise there is. */
  leastRequestAgain: { name: 'Lightpath, least request again', proxy: 'lightpath', layer: 'envoy' },
  spillOver: {
    name: 'Lightpath, peak EWMA with spill-over',
    proxy: 'lightpath',
    layer: 'envoy',
    settings: { 'lb-policy': 'PEAK_EWMA', 'spill-over': 'true' },
  },
  kernel: { name: 'Lightpath, kernel layer', proxy: 'lightpath', layer: 'kernel', settings: { overlay: 'false' } },
  pod: { name: 'pod address', proxy: 'lightpath', direct: true },
} satisfies Readonly<Record<string, Variant>>

export type VariantId = keyof typeof variants

export function variant(id: VariantId): Variant {
  return variants[id]
}

/** All in another order each round, so that none always comes after the same one. */
export function rotated<T>(all: readonly T[], round: number): readonly T[] {
  const first = round % all.length
  return [...all.slice(first), ...all.slice(0, first)]
}

/** A Kubernetes name. */
export function slug(id: VariantId): string {
  return id.toLowerCase()
}
