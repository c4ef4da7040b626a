/**
 * What an endpoint sees as the peer of a connection through Envoy: `preserve`: the client's address, which needs a
 * routed pod network; `forwarded-for`: the node's, with the client's in the header X-Forwarded-For of HTTP.
 */

export const clientAddressModes = ['auto', 'preserve', 'forwarded-for'] as const
/** With `auto` each node finds out. */
export type ClientAddressMode = (typeof clientAddressModes)[number]
export type ClientAddress = Exclude<ClientAddressMode, 'auto'>

/** Says in Envoy's Node.metadata that its bootstrap is for `preserve`. */
export const clientAddressKey = 'lightpath.cloud/client-address'

/** The first of Envoy's own ports when it connects from the client's address; they reach to the last one, 65535. */
export const firstOwnPort = 61000

/** Whether a Linux of this release can keep Envoy's ports apart (IP_LOCAL_PORT_RANGE, since 6.3). */
export function hasPortRange(release: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 3)
}
