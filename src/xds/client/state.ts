/** What the server remembers of a client, for each type and name. */

import type { Resource, ResourceRef, TypeUrl } from '../../envoy/resource.ts'
import type { ServedType } from '../types.ts'

/** An acknowledged resource as the server remembers it: never its bytes, so that a slow client keeps none alive. */
export type AckedVersion = Pick<Resource, 'version' | 'requires' | 'waitsFor'>

/** Everything that is known of one name for this client. */
export interface Entry extends ResourceRef {
  /** The client subscribed to this name. */
  subscribed: boolean
  /** What the client has acknowledged and still has. */
  acked: AckedVersion | undefined
  /** Acked only by the client's list, in a version that the store does not have: what it requires is a guess. */
  versionUnknown: boolean
  /** What the response in flight says of it. */
  sending: Item | undefined
  /** The client waits for an answer about it, changed or not. */
  mustRespond: boolean
  /**
   * The client has it, but from a rejected response, of which Envoy lists nothing after a reconnect: to be sent again.
   */
  resendAfterNack: boolean
  /** The version that the client rejected. */
  rejected: string | undefined
  /** The client may have rejected it on a stream before: it is to be removed before it is sent. */
  maybeRejected: boolean
  /** It went into service without what it waits for: to be removed, and sent again. */
  comesAgain: boolean
  /** How many resources that the client has, or is being sent, require this one. */
  refCount: number
  /** Resources that wait until the client has this one. */
  blockedDependents: Set<ResourceRef> | undefined
}

/** One resource of a response: put, or removed where there is no version. */
export interface Item {
  readonly entry: Entry
  readonly version: AckedVersion | undefined
  readonly mustRespond: boolean
}

export interface TypeState extends ServedType {
  readonly entries: Map<string, Entry>
  requested: boolean
  /** Subscribed to every name there is. */
  wildcard: boolean
  /**
   * A response is due even if there is nothing to send: a new Envoy starts only after it, and one that was connected
   * before has listed everything that it has when it answers.
   */
  answerDue: boolean
  readonly dirty: Set<string>
  /** The number of entries whose version is unknown. */
  versionsUnknown: number
  /** The types that may require this one. */
  later: readonly TypeState[]
  /** Groups of names, each with at least one that Envoy rejected without naming it: each group is sent alone. */
  readonly bisectionQueue: string[][]
  inFlight: { readonly nonce: string; readonly items: readonly Item[] } | undefined
}

export function isWanted(type: TypeState, entry: Entry): boolean {
  return type.wildcard || entry.subscribed
}

export function newEntry(typeUrl: TypeUrl, name: string): Entry {
  return {
    typeUrl,
    name,
    subscribed: false,
    acked: undefined,
    versionUnknown: false,
    sending: undefined,
    mustRespond: false,
    resendAfterNack: false,
    rejected: undefined,
    maybeRejected: false,
    comesAgain: false,
    refCount: 0,
    blockedDependents: undefined,
  }
}

export function newTypeState(type: ServedType): TypeState {
  return {
    ...type,
    later: [],
    entries: new Map(),
    requested: false,
    wildcard: false,
    answerDue: false,
    dirty: new Set(),
    versionsUnknown: 0,
    bisectionQueue: [],
    inFlight: undefined,
  }
}
