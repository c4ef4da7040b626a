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
  /**
   * A client that rejects a resource of this type keeps its hash, and acknowledges the same bytes when they come again.
   * So each goes in a response of its own, which names the culprit, and a client that has none, but may have rejected
   * it on a stream before, is told first that it is gone, by which the client forgets the hash. One that has an older
   * version keeps serving by that.
   *
   * Such a client also waits for none of the others any longer. What asks for them is in service without them, and
   * misses what they ask for in turn, so it is removed and sent again.
   */
  readonly isWaitedForOnce?: boolean
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
  { typeUrl: typeUrls.filter, subscribed: 'byName', keptByClient: true, isWaitedForOnce: true },
  { typeUrl: typeUrls.cluster, subscribed: 'always' },
  { typeUrl: typeUrls.endpoints, subscribed: 'byName', completes: typeUrls.cluster },
  { typeUrl: typeUrls.route, subscribed: 'byName' },
  { typeUrl: typeUrls.listener, subscribed: 'always' },
  // Asked for as a whole, once a listener has come that needs it.
  { typeUrl: typeUrls.scope, subscribed: 'byName' },
]
