/** Publishes frontends to Envoy, and says which of its resources a frontend needs to be promoted. */

import type { Resource, ResourceRef } from '../../envoy/resource.ts'
import { addressesOf, type Frontend } from '../../envoy/resources/frontend.ts'
import { hasOwnListeners, type NodeOptions, sharedProtocolOf } from '../../envoy/resources/listener.ts'
import type { VersionedRef } from '../../xds/client/messages.ts'
import type { ResourceStore } from '../../xds/store.ts'
import { Arrivals } from './arrivals.ts'
import { FormerAddresses } from './formeraddresses.ts'
import type { Lifecycle, Redirect } from './lifecycle.ts'
import type { Changes, PublishedFrontends } from './published.ts'

export interface PublisherOptions {
  readonly published: PublishedFrontends
  readonly store: ResourceStore
  readonly drainMs: number
  /** The redirect listeners, which every frontend needs. */
  readonly redirectListeners: readonly Resource[]
  /** Envoy no longer has these. */
  readonly onRemoved: (refs: readonly ResourceRef[]) => void
}

export class Publisher {
  readonly published: PublishedFrontends
  readonly #options: PublisherOptions
  readonly #former: FormerAddresses
  readonly #arrivals = new Arrivals()

  constructor(options: PublisherOptions) {
    this.#options = options
    this.published = options.published
    this.#former = new FormerAddresses({ ...options, update: collect => this.update(collect) })
  }

  has(id: string): boolean {
    return this.published.has(id)
  }

  /** The frontend as last published to Envoy. */
  frontendOf(id: string): Frontend | undefined {
    return this.published.get(id)?.frontend
  }

  /** Whether the frontend was published with other listeners, scopes or routes than it is to have now. */
  hasMoved(frontend: Frontend): boolean {
    return this.published.hasMoved(frontend)
  }

  get options(): NodeOptions {
    return this.published.options
  }

  /** Publishes what frontends put and remove as one update. */
  update(collect: (changes: Changes) => void): void {
    const changes: Changes = { put: [], remove: [] }
    collect(changes)
    this.#options.store.update(changes)
    if (changes.remove.length === 0) return
    this.#arrivals.forget(changes.remove)
    this.#options.onRemoved(changes.remove)
  }

  publish(life: Lifecycle, planned: Frontend, changes: Changes, arrived?: number): void {
    const { observed } = life
    const frontend = planned.observed === observed ? planned : { ...planned, observed }
    // For connections to the addresses that it has had until now.
    const quietMs = Math.min(this.quietMs(life.id), this.#options.drainMs)
    const before = changes.put.length
    const left = this.published.publish(
      frontend,
      { isWanted: !life.isDraining, isClosing: life.state === 'closing' },
      changes,
    )
    for (const address of left) this.#former.add(address, quietMs)
    this.#arrivals.publish(changes.put.slice(before), arrived)
  }

  /** Publishes the frontend again as it was, since an observation of it changed, or its connections are to end. */
  republish(life: Lifecycle): void {
    const frontend = this.frontendOf(life.id)
    if (frontend) this.update(changes => this.publish(life, frontend, changes))
  }

  forget(id: string): void {
    this.update(changes => this.published.forget(id, changes))
  }

  /** A previous run of the agent published these addresses: connections to them are to end. */
  addFormer(addresses: readonly string[]): void {
    this.update(changes => {
      for (const address of addresses) this.published.addFormer(address, changes)
    })
    for (const address of addresses) this.#former.add(address, this.#options.drainMs)
  }

  /** What the kernel redirects for the frontend, and what Envoy needs for it. */
  redirectOf(id: string): Redirect {
    const { frontend, resources } = this.published.get(id)!
    const shared = this.published.sharedOf(frontend)
    const redirectListeners = this.#options.redirectListeners.filter(({ name }) => name.endsWith(frontend.family))
    const addresses = addressesOf(frontend).map(({ ip, port }) => ({ ip, port, isShared: !hasOwnListeners(frontend) }))
    return { addresses, needs: redirectListeners.concat(shared, resources) }
  }

  /**
   * How long a frontend has to be without requests to have no connection left; Envoy counts them on a listener of its
   * own.
   */
  quietMs(id: string): number {
    const frontend = this.frontendOf(id)
    return (frontend && sharedProtocolOf(frontend)?.idleTimeout) ?? 0
  }

  /** Milliseconds since the change of this version arrived; undefined where none is waited for. */
  programmed({ typeUrl, name, version }: VersionedRef): number | undefined {
    if (this.#options.store.get(typeUrl, name)?.version !== version) return undefined
    return this.#arrivals.take({ typeUrl, name })
  }

  /** Nobody waits any more for what Envoy rejected. */
  rejected(ref: ResourceRef): void {
    this.#arrivals.forget([ref])
  }

  stop(): void {
    this.#former.stop()
  }
}
