/** A range of cluster IPs (networking.k8s.io/v1 ServiceCIDR, KEP-1880). */
export interface ServiceCidr {
  readonly kind: 'ServiceCIDR'
  readonly name: string
  /** Canonical, at most one of each family. */
  readonly cidrs: readonly string[]
}
