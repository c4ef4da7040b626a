/**
 * What an endpoint sees as the peer of a connection through Envoy: `preserve`: the client's address, which needs a routed
 * pod network; `forwarded-for`: the node's, with the client's in the header X-Forwarded-For of HTTP.
 */

export const clientAddressModes = ['preserve', 'forwarded-for'] as const
export type ClientAddress = (typeof clientAddressModes)[number]

/** Where Envoy's own ports begin when it connects from the client's address; they reach to the last one, 65535. */
export const firstOwnPort = 61000
