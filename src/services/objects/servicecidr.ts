/** A range that cluster IPs are given out of (networking.k8s.io/v1 ServiceCIDR, KEP-1880). */
export interface ServiceCidr {
  readonly kind: 'ServiceCIDR'
  readonly name: string
  /** Canonical, at most one of each family. */
  readonly cidrs: readonly string[]
}
