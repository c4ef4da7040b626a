/** Addresses that no Service and no endpoint may have. */

/** By canonical text, in which each of these blocks has one beginning. */
const kinds: readonly (readonly [what: string, is: RegExp])[] = [
  ['the unspecified address', /^(0\.0\.0\.0|::)$/],
  ['a loopback address', /^(127\.|::1$)/],
  ['a link-local address', /^(169\.254\.|fe[89ab][0-9a-f]:)/],
  ['a multicast address', /^(22[4-9]\.|23\d\.|ff[0-9a-f]{2}:)/],
  ['an IPv4 address written as IPv6', /^::ffff:\d+\./],
]

/**
 * Why a canonical address cannot belong to a Service or an endpoint, where it cannot: traffic of the node itself would
 * be taken, or none would arrive. The API server refuses most of them (ValidateNonSpecialIP); manifests nobody checks.
 */
export function unusableAs(ip: string): string | undefined {
  return kinds.find(([, is]) => is.test(ip))?.[0]
}

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html and its like of other clouds. */
const metadataServers = ['fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '168.63.129.16', '192.0.0.192']

/** What an address is that no pod has, beside those of `unusableAs`, where it is one. */
export function specialPlace(ip: string): string | undefined {
  return metadataServers.includes(ip) ? "the address of a cloud's metadata server" : unusableAs(ip)
}
