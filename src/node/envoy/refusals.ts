/** What Envoys have refused, each for itself, until that Envoy has it, is gone, or it changes. */

import { type Resource, type ResourceRef, refKey, typeNameOf } from '../../envoy/resource.ts'
import { serviceKeyOf } from '../../plan/ports/port.ts'
import { type Problem, problem } from '../../services/problem.ts'
import type { Refusal } from '../../xds/client/messages.ts'
import type { ResourceStore } from '../../xds/store.ts'

export interface RefusalsOptions {
  readonly store: ResourceStore
  /** The frontend that a resource belongs to; undefined for a listener that many need. */
  readonly ownerOf: (ref: ResourceRef) => string | undefined
  /** A listener that many Service ports need, as it is to be. */
  readonly sharedOf: (ref: ResourceRef) => Resource | undefined
  /** What applies instead, and what to do. */
  readonly remedy: (ref: ResourceRef) => string
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

interface ClientRefusal extends Refusal {
  readonly clientId: number
  /** The frontend that it belonged to. */
  readonly owner: string | undefined
}

const longestRetryMs = 60_000

export class Refusals {
  readonly #options: RefusalsOptions
  /** By client, type and name. */
  readonly #refusals = new Map<string, ClientRefusal>()
  /** Shared resources that an Envoy refused, by name: how often, and when they are told again. */
  readonly #retries = new Map<string, { readonly count: number; readonly timer: NodeJS.Timeout }>()

  constructor(options: RefusalsOptions) {
    this.#options = options
  }

  /** What was removed or changed meanwhile is nobody's problem any more. */
  add(clientId: number, refusal: Refusal): void {
    const { ref, version } = refusal
    if (this.#options.store.get(ref.typeUrl, ref.name)?.version !== version) return
    const refused = { ...refusal, clientId, owner: this.#options.ownerOf(ref) }
    this.#refusals.set(keyOf(clientId, ref), refused)
    this.#report(refused)
    this.#tellAgain(ref)
  }

  acknowledged(clientId: number, ref: ResourceRef): void {
    if (this.#refusals.size === 0) return
    const key = keyOf(clientId, ref)
    this.#drop(this.#refusals.get(key), key)
  }

  disconnected(clientId: number): void {
    this.#dropAll(refusal => refusal.clientId === clientId)
  }

  removed(refs: readonly ResourceRef[]): void {
    if (this.#refusals.size === 0) return
    const keys = new Set(refs.map(refKey))
    this.#dropAll(({ ref }) => keys.has(refKey(ref)))
  }

  /** An Envoy's words, where one has refused this version. */
  detailOf({ typeUrl, name, version }: ResourceRef & { readonly version: string }): string | undefined {
    const all = [...this.#refusals.values()]
    return all.find(
      ({ ref, ...refusal }) => ref.typeUrl === typeUrl && ref.name === name && refusal.version === version,
    )?.detail
  }

  stop(): void {
    for (const { timer } of this.#retries.values()) clearTimeout(timer)
    this.#retries.clear()
  }

  #dropAll(isOver: (refusal: ClientRefusal) => boolean): void {
    for (const [key, refusal] of this.#refusals) if (isOver(refusal)) this.#drop(refusal, key)
  }

  #drop(refusal: ClientRefusal | undefined, key: string): void {
    if (!refusal) return
    this.#refusals.delete(key)
    this.#report(refusal)
    const { name } = refusal.ref
    if ([...this.#refusals.values()].some(({ ref }) => refKey(ref) === refKey(refusal.ref))) return
    clearTimeout(this.#retries.get(name)?.timer)
    this.#retries.delete(name)
  }

  /**
   * A listener that many Service ports need is refused while its port is taken, and once that is free it is to be there. It
   * is told as a new version, since Envoy is not told a version again that it refused.
   */
  #tellAgain(ref: ResourceRef): void {
    const { store, sharedOf } = this.#options
    if (!sharedOf(ref)) return
    const before = this.#retries.get(ref.name)
    const count = (before?.count ?? 0) + 1
    clearTimeout(before?.timer)
    const tell = () => {
      const resource = sharedOf(ref)
      if (resource) store.update({ put: [{ ...resource, version: `${resource.version}-${count}` }] })
    }
    this.#retries.set(ref.name, { count, timer: setTimeout(tell, Math.min(500 * 2 ** count, longestRetryMs)) })
  }

  #report(refused: ClientRefusal): void {
    const { remedy, onProblems } = this.#options
    const origin = originOf(refused)
    const { ref, owner } = refused
    const object = owner === undefined ? `Envoy listener ${ref.name}` : `Service ${serviceKeyOf(owner)}`
    const refusals = [...this.#refusals.values()].filter(refusal => originOf(refusal) === origin)
    // Two Envoys may say the same.
    const reasons = new Set(refusals.map(refusal => `Envoy refused ${describe(refusal)}`))
    onProblems(
      `Envoy ${origin}`,
      [...reasons].map(reason => problem('LP301', object, reason, remedy(ref))),
    )
  }
}

function originOf({ owner, ref }: ClientRefusal): string {
  return owner ?? ref.name
}

function describe({ ref, detail }: Refusal): string {
  return `${typeNameOf(ref.typeUrl)} ${ref.name}: ${detail.trim().replaceAll('\n', '; ')}`
}

function keyOf(clientId: number, ref: ResourceRef): string {
  return `${clientId} ${refKey(ref)}`
}
