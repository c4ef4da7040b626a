/** What a client says to the server, and what the server learns of a client. */

import type { ResourceRef, TypeUrl } from '../../envoy/resource.ts'

export interface Request {
  readonly typeUrl: TypeUrl
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** Name to version of what the client has; only the first request of a type on a stream has any. */
  readonly initialVersions: Readonly<Record<string, string>>
  /** Of the response that this request answers; '' where it answers none. */
  readonly nonce: string
  /** Why the client refused that response; undefined where it did not. */
  readonly error: string | undefined
}

export interface VersionedRef extends ResourceRef {
  readonly version: string
}

export interface Nack {
  readonly ref: ResourceRef
  readonly version: string
  /** The client's words. */
  readonly detail: string
}

export interface ClientEvents {
  /** The client has these now, at these versions. */
  acknowledged(resources: readonly VersionedRef[]): void
  /** The client has these no more. */
  gone(refs: readonly ResourceRef[]): void
  /** The client keeps what it had of this resource before, if anything; this version is not sent to it again. */
  nacked(nack: Nack): void
  /**
   * All that can be delivered now is acknowledged, and the client has asked for every type of which it could have
   * something, so has said what it had before. Told after each delivery again.
   */
  settled(): void
  /** The client lists something from a stream before that only admitted clients have: it counts as admitted. */
  active(): void
  /** The client has these from a stream before, and the store does not. They are removed unless it gets them now. */
  unknown(refs: readonly ResourceRef[]): void
  /** The client did something that the protocol does not have; it was ignored. */
  ignored(typeUrl: TypeUrl, reason: string): void
}
