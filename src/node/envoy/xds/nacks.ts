/** Keeps NACKs, for each Envoy by itself, until that Envoy acks the resource or is gone, or the resource changes. */

import { type Resource, type ResourceRef, refKey, typeNameOf, typeUrls } from '../../../envoy/resource.ts'
import { serviceKeyOf } from '../../../plan/ports/port.ts'
import { type Problem, problem } from '../../../services/problem.ts'
import type { Nack } from '../../../xds/client/messages.ts'
import type { ResourceStore } from '../../../xds/store.ts'

/** What applies in place of a resource that an Envoy rejected, and what to do, by whose it is. */
export const remedies = {
  redirectListener: 'the kernel layer serves all Services; stop what uses the port, it is tried again',
  sharedListener: 'the kernel layer serves the http ports that need it; stop what uses its port, it is tried again',
  sharedFilter: 'the kernel layer serves the http ports that need it; it is tried again when an Envoy connects anew',
  redirected: 'it keeps its last acknowledged configuration; correct its settings',
  notRedirected: 'the kernel layer serves it; correct its settings',
} as const

export interface NacksOptions {
  readonly store: ResourceStore
  /** The frontend that a resource belongs to; undefined for one that many need. */
  readonly ownerOf: (ref: ResourceRef) => string | undefined
  /** The current form of a listener or filter that many Service ports need. */
  readonly sharedOf: (ref: ResourceRef) => Resource | undefined
  /** Says what applies instead, and what to do. */
  readonly remedy: (ref: ResourceRef) => string
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

interface ClientNack extends Nack {
  readonly clientId: number
  /** The frontend that the resource belonged to. */
  readonly owner: string | undefined
}

const longestRetryMs = 60_000

export class Nacks {
  readonly #options: NacksOptions
  /** By client, type and name. */
  readonly #nacks = new Map<string, ClientNack>()
  /** Shared listeners that an Envoy rejected, by name: how often, and when they are sent again. */
  readonly #retries = new Map<string, { readonly count: number; readonly timer: NodeJS.Timeout }>()

  #stopped = false

  constructor(options: NacksOptions) {
    this.#options = options
  }

  /** Records a NACK. One of a resource that was removed or changed meanwhile is nobody's problem any more. */
  add(clientId: number, nack: Nack): void {
    if (this.#stopped) return
    const { ref, version } = nack
    if (this.#options.store.get(ref.typeUrl, ref.name)?.version !== version) return
    const nacked = { ...nack, clientId, owner: this.#options.ownerOf(ref) }
    this.#nacks.set(keyOf(clientId, ref), nacked)
    this.#report(nacked)
    this.#tellAgain(ref)
  }

  acknowledged(clientId: number, ref: ResourceRef): void {
    if (this.#nacks.size === 0) return
    const key = keyOf(clientId, ref)
    this.#drop(this.#nacks.get(key), key)
  }

  disconnected(clientId: number): void {
    this.#dropAll(nack => nack.clientId === clientId)
  }

  removed(refs: readonly ResourceRef[]): void {
    if (this.#nacks.size === 0) return
    const keys = new Set(refs.map(refKey))
    this.#dropAll(({ ref }) => keys.has(refKey(ref)))
  }

  /** Envoy's words, where an Envoy has rejected this version. */
  detailOf({ typeUrl, name, version }: ResourceRef & { readonly version: string }): string | undefined {
    const all = [...this.#nacks.values()]
    return all.find(({ ref, ...nack }) => ref.typeUrl === typeUrl && ref.name === name && nack.version === version)
      ?.detail
  }

  /** Stops: nothing is sent again. */
  stop(): void {
    this.#stopped = true
    for (const { timer } of this.#retries.values()) clearTimeout(timer)
    this.#retries.clear()
  }

  #dropAll(isOver: (nack: ClientNack) => boolean): void {
    for (const [key, nack] of this.#nacks) if (isOver(nack)) this.#drop(nack, key)
  }

  #drop(nack: ClientNack | undefined, key: string): void {
    if (!nack) return
    this.#nacks.delete(key)
    this.#report(nack)
    const { name } = nack.ref
    if ([...this.#nacks.values()].some(({ ref }) => refKey(ref) === refKey(nack.ref))) return
    clearTimeout(this.#retries.get(name)?.timer)
    this.#retries.delete(name)
  }

  /**
   * Sends a rejected shared listener again. Envoy rejects it while its port is taken, and has to get it once the port
   * is free. It goes out as a new version, since a rejected version is not sent to an Envoy again. A filter is not:
   * nothing outside of it changes the verdict, and Envoy acknowledges bytes that it has rejected (xds/types.ts).
   */
  #tellAgain(ref: ResourceRef): void {
    const { store, sharedOf } = this.#options
    if (ref.typeUrl !== typeUrls.listener || !sharedOf(ref)) return
    const before = this.#retries.get(ref.name)
    const count = (before?.count ?? 0) + 1
    clearTimeout(before?.timer)
    const tell = () => {
      const resource = sharedOf(ref)
      if (resource) store.update({ put: [{ ...resource, version: `${resource.version}-${count}` }] })
    }
    this.#retries.set(ref.name, { count, timer: setTimeout(tell, Math.min(500 * 2 ** count, longestRetryMs)) })
  }

  #report(nacked: ClientNack): void {
    const { remedy, onProblems } = this.#options
    const origin = originOf(nacked)
    const { ref, owner } = nacked
    const object =
      owner === undefined ? `Envoy ${typeNameOf(ref.typeUrl)} ${ref.name}` : `Service ${serviceKeyOf(owner)}`
    const nacks = [...this.#nacks.values()].filter(nack => originOf(nack) === origin)
    // Two Envoys may report the same.
    const reasons = new Set(nacks.map(nack => `Envoy refused ${describe(nack)}`))
    onProblems(
      `Envoy ${origin}`,
      [...reasons].map(reason => problem('LP301', object, reason, remedy(ref))),
    )
  }
}

function originOf({ owner, ref }: ClientNack): string {
  return owner ?? ref.name
}

function describe({ ref, detail }: Nack): string {
  return `${typeNameOf(ref.typeUrl)} ${ref.name}: ${detail.trim().replaceAll('\n', '; ')}`
}

function keyOf(clientId: number, ref: ResourceRef): string {
  return `${clientId} ${refKey(ref)}`
}
