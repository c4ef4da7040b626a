/** The life cycle of frontends on a node whose kernel and Envoy a test plays. */

import { refKey } from '../../envoy/resource.ts'
import { addressesOf, type Frontend } from '../../envoy/resources/frontend.ts'
import { hasOwnListeners } from '../../envoy/resources/listener.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import { hostPort } from '../../net/address.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { ResourceStore } from '../../xds/store.ts'
import { Drains } from './drains.ts'
import type { Lifecycle } from './lifecycle.ts'
import { PublishedFrontends } from './published.ts'
import { Publisher } from './publisher.ts'
import { Reconciler } from './reconciler.ts'
import { RedirectSet } from './redirectset.ts'

export const settleMs = 2
const drainMs = 20
export const drainIntervalMs = 2

/** A node whose kernel and Envoy follow when the history says so. */
export class Node {
  readonly lives = new Map<string, Lifecycle>()
  readonly store = new ResourceStore()
  readonly #published = new PublishedFrontends({})
  /** By type and name: what Envoy has acknowledged, and keeps though it was removed from the store. */
  readonly envoy = new Set<string>()
  /** What the kernel is to redirect, as `redirectText` writes it. */
  readonly redirected = new Set<string>()
  /** What it redirects until it has written that. */
  redirectedYet: ReadonlySet<string> = new Set()
  /** Whether connections are open at a frontend that drains. */
  isBusy = false
  isAlive = false
  #unsynced = new Set<string>()
  readonly #redirects: RedirectSet
  readonly #drains: Drains
  readonly #publisher: Publisher
  readonly #reconciler: Reconciler
  readonly #plan = new Map<string, PortState>()

  constructor() {
    this.#publisher = new Publisher({
      published: this.#published,
      store: this.store,
      drainMs,
      redirectListeners: [],
      onRemoved: () => {},
    })
    this.#redirects = new RedirectSet(
      {
        settleMs,
        isReady: ref => this.envoy.has(refKey(ref)),
        move: (addresses, isRedirected) => this.#move(addresses, isRedirected),
        clear: () => {
          this.redirected.clear()
          this.redirectedYet = new Set()
        },
      },
      () => this.lives.values(),
    )
    this.#drains = new Drains({
      drainMs,
      intervalMs: drainIntervalMs,
      quietMs: () => 0,
      activity: async asked => new Map(asked.map(id => [id, { open: Number(this.isBusy), answers: 0 }])),
      close: life => this.#publisher.republish(life),
      finish: ({ id }) => {
        this.lives.delete(id)
        this.#publisher.forget(id)
      },
    })
    this.#reconciler = new Reconciler(
      { nodeName: 'node1', endpointsPerPort: 0, endConnections: () => {} },
      this.lives,
      { publisher: this.#publisher, redirects: this.#redirects, drains: this.#drains },
    )
    this.#reconciler.begin([])
  }

  /** @param after undefined for a port that is gone */
  plan(id: string, after: PortState | undefined): void {
    const before = this.#plan.get(id)
    if (after) this.#plan.set(id, after)
    else this.#plan.delete(id)
    this.#unsynced.add(id)
    this.#reconciler.apply([{ id, before, after }])
  }

  get wanted(): readonly PortState[] {
    return [...this.#plan.values()].filter(({ layer }) => layer.wants === 'envoy')
  }

  syncKernel(): void {
    const synced = [...this.#unsynced]
    this.#unsynced.clear()
    this.redirectedYet = new Set(this.redirected)
    this.#reconciler.kernelSynced(synced)
  }

  setAlive(isAlive: boolean): void {
    this.isAlive = isAlive
    this.#redirects.setAlive(isAlive)
  }

  /** Envoy takes what is in the store. */
  acknowledge(): void {
    for (const life of this.lives.values()) {
      if (!this.#published.has(life.id)) continue
      for (const ref of this.#publisher.redirectOf(life.id).needs) this.envoy.add(refKey(ref))
      this.#redirects.check(life)
    }
  }

  /** Envoy lost everything, as after a restart. */
  lose(): void {
    this.envoy.clear()
    for (const life of this.lives.values()) this.#redirects.checkLoss(life)
  }

  /** Whether Envoy is to have what connections to this address need. */
  serves(address: string): boolean {
    return [...this.#published.entries()].some(([, { frontend }]) => redirectedTo(frontend).includes(address))
  }

  get resources(): number {
    return [...this.lives.keys()].filter(id => this.#published.has(id)).length
  }

  stop(): void {
    this.#reconciler.stop()
    this.#redirects.stop()
    this.#drains.stop()
    this.#publisher.stop()
  }

  #move(addresses: readonly VipPort[], isRedirected: boolean): void {
    for (const address of addresses) {
      for (const isShared of [true, false]) this.redirected.delete(redirectText({ ...address, isShared }))
      if (isRedirected) this.redirected.add(redirectText(address))
    }
  }
}

/** Returns addresses and the listener that connections to them are to go to, as `redirectText` does. */
export function redirectedTo(frontend: Frontend): readonly string[] {
  const isShared = !hasOwnListeners(frontend)
  return addressesOf(frontend).map(address => redirectText({ ...address, isShared }))
}

/** `10.96.0.10:80 shared` */
export function redirectText({ ip, port, isShared }: VipPort): string {
  return `${hostPort(ip, port)} ${isShared ? 'shared' : 'own'}`
}
