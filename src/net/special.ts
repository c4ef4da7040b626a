/** Addresses that no Service, or no endpoint, may have. */

type Kind = readonly [what: string, is: RegExp]

/** By canonical text, in which each of these blocks has one beginning. */
const harmful: readonly Kind[] = [
  ['the unspecified address', /^(0\.0\.0\.0|::)$/],
  ['a loopback address', /^(127\.|::1$)/],
  ['a multicast address', /^(22[4-9]\.|23\d\.|ff[0-9a-f]{2}:)/],
]
const special: readonly Kind[] = [...harmful, ['a link-local address', /^(169\.254\.|fe[89ab][0-9a-f]:)/]]

/**
 * Why a canonical address cannot be a VIP or a load balancer's, where it cannot: traffic of the node itself would be
 * taken. Link-local ones can, as behind kube-proxy: clusters have them as their Service range.
 */
export function unusableAsVip(ip: string): string | undefined {
  return whyNot(ip, harmful)
}

/** The same for endpoints and external IPs, of which the API server refuses link-local ones, too (ValidateEndpointIP). */
export function unusableAsEndpoint(ip: string): string | undefined {
  return whyNot(ip, special)
}

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html and its like of other clouds. */
const metadataServers = ['fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '168.63.129.16', '192.0.0.192']

/** What an address is that no pod has, beside those of `unusableAsEndpoint`, where it is one. */
export function specialPlace(ip: string): string | undefined {
  return metadataServers.includes(ip) ? "the address of a cloud's metadata server" : unusableAsEndpoint(ip)
}

function whyNot(ip: string, kinds: readonly Kind[]): string | undefined {
  return kinds.find(([, is]) => is.test(ip))?.[0]
}
