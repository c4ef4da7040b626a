/** The properties of the served types that the server needs to know. */

import { type TypeUrl, typeUrls } from '../envoy/resource.ts'

export interface ServedType {
  readonly typeUrl: TypeUrl
  /** `always`: every client subscribes to the type as a whole, soon after it connects. `byName`: to names, if it needs any. */
  readonly subscribed: 'always' | 'byName'
  /**
   * A resource of that type becomes usable in a client only when the resource of this type with the same name comes
   * after it. So this one is sent after each of that type, changed or not, and never waits for its acknowledgement,
   * which waits for this one.
   */
  readonly completes?: TypeUrl
  /** A client gives up a resource of this type itself, when nothing in it uses that any more. The server removes none. */
  readonly keptByClient?: boolean
}

/**
 * The types of Envoy, in the order in which resources are built: they require only types that stand before their own.
 *
 * Envoy (1.40) warms a changed cluster until its endpoints come, does not ask for them again, and acknowledges no cluster
 * meanwhile; after 15 s it goes on without.
 */
export const envoyTypes: readonly ServedType[] = [
  // Envoy keeps that of a removed listener until the listener is drained. If it were removed before, and the listener
  // came again, Envoy would take the listener into service at once, without the filter.
  { typeUrl: typeUrls.filter, subscribed: 'byName', keptByClient: true },
  { typeUrl: typeUrls.cluster, subscribed: 'always' },
  { typeUrl: typeUrls.endpoints, subscribed: 'byName', completes: typeUrls.cluster },
  { typeUrl: typeUrls.route, subscribed: 'byName' },
  { typeUrl: typeUrls.listener, subscribed: 'always' },
  // Asked for as a whole, once a listener has come that needs it.
  { typeUrl: typeUrls.scope, subscribed: 'byName' },
]
