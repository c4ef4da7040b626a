/** The messages of a client to the server, and what the server learns of a client. */

import type { ResourceRef, TypeUrl } from '../../envoy/resource.ts'

export interface Request {
  readonly typeUrl: TypeUrl
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** Name to version of what the client has; only the first request of a type on a stream has any. */
  readonly initialVersions: Readonly<Record<string, string>>
  /** The nonce of the response that this request answers; '' where it answers none. */
  readonly nonce: string
  /** Why the client rejected that response; undefined where it did not. */
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
  /** The client no longer has these. */
  gone(refs: readonly ResourceRef[]): void
  /** The client keeps what it had of this resource before, if anything; this version is not sent to it again. */
  nacked(nack: Nack): void
  /**
   * Everything that can be delivered now is acknowledged, and the client has asked for every type of which it could
   * have something, and so has listed what it had before. Reported again after each delivery.
   */
  settled(): void
  /** The client lists something from a stream before that only active clients have: it counts as active. */
  active(): void
  /** The client has these from a stream before, and the store does not. They are removed unless it gets them now. */
  unknown(refs: readonly ResourceRef[]): void
  /** The client did something that is not in the protocol; it was ignored. */
  ignored(typeUrl: TypeUrl, reason: string): void
}
