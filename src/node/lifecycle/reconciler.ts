/**
 * Reconciles what Envoy has of each frontend, and what the kernel redirects to it, with the plan. Each frontend has a
 * lifecycle (lifecycle.ts), which the plan's changes, the kernel's syncs, and what Envoy acknowledges (redirectset.ts)
 * and has open (drains.ts) bring on.
 */

import { EndpointSubsets, type SubsetOptions } from '../../envoy/resources/cluster/subset.ts'
import { addressesOf, externalId, type Frontend, frontendsOf } from '../../envoy/resources/frontend.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { PortChange } from '../../plan/update.ts'
import type { Drains } from './drains.ts'
import { Lifecycle } from './lifecycle.ts'
import { ChangePace } from './pace/changepace.ts'
import { FairQueue } from './pace/fairqueue.ts'
import type { Publisher } from './publisher.ts'
import type { RedirectSet } from './redirectset.ts'

export interface ReconcilerOptions extends SubsetOptions {
  /** Connections to these frontends shall end: Envoy may connect to none of their endpoints any more. */
  readonly endConnections: (addresses: readonly VipPort[]) => void
  /** These were published to Envoy. */
  readonly onPublished?: (frontends: readonly Frontend[]) => void
}

/** What the lifecycles act on. */
export interface Actuators {
  readonly publisher: Publisher
  readonly redirects: RedirectSet
  readonly drains: Drains
}

/** How often to check frontends that wait for the pace of changes. */
const paceMs = 1000

export class Reconciler {
  readonly #options: ReconcilerOptions
  readonly #actuators: Actuators
  readonly #subsets: EndpointSubsets
  readonly #lives: Map<string, Lifecycle>
  readonly #queue = new FairQueue<Lifecycle>(lives => this.#publish(lives))
  readonly #pace = new ChangePace()
  #paceTimer: NodeJS.Timeout | undefined
  #hasBegun = false

  constructor(options: ReconcilerOptions, lives: Map<string, Lifecycle>, actuators: Actuators) {
    this.#options = options
    this.#lives = lives
    this.#actuators = actuators
    this.#subsets = new EndpointSubsets(options)
  }

  /** Takes everything there is at the start, before any Envoy connects. */
  begin(changes: readonly PortChange[]): void {
    this.apply(changes)
    this.#queue.finish()
    this.#hasBegun = true
  }

  /**
   * Demotes at once, and publishes the other changes in turns, small ones first.
   * @param arrived when the changes came, by performance.now(); undefined where nobody asks how long they take
   */
  apply(changes: readonly PortChange[], arrived?: number): void {
    for (const { id, after } of changes) {
      const planned = (after ? frontendsOf(after) : []).map(frontend =>
        this.#subsets.of(frontend, this.#actuators.publisher.frontendOf(frontend.id)),
      )
      const byId = new Map(planned.map(frontend => [frontend.id, frontend]))
      for (const frontendId of [id, externalId(id)]) this.#plan(frontendId, byId.get(frontendId), arrived)
    }
    this.#queue.run()
  }

  /**
   * The kernel has these ports as planned: it redirects nothing new of those that were demoted or moved. A moved
   * frontend is promoted again when Envoy has what it needs at its new addresses. Connections of a draining frontend in
   * Envoy still follow its endpoints; had Envoy known before that none is left, it would have answered 503.
   */
  kernelSynced(ports: readonly string[]): void {
    const { publisher, drains } = this.#actuators
    publisher.update(changes => {
      for (const id of ports.flatMap(port => [port, externalId(port)])) {
        const life = this.#lives.get(id)
        if (!life) continue
        if (life.on('kernelSynced')) drains.start(life)
        const { pending } = life
        if (pending?.until !== 'kernel') continue
        life.pending = undefined
        const { frontend, arrived } = pending
        if (frontend.layer.wants === 'envoy') {
          life.on('wanted')
          this.#enqueue(life, frontend, arrived)
        } else {
          if (frontend.isCut && frontend.endpoints.length === 0) this.#options.endConnections(addressesOf(frontend))
          // Without an endpoint it can only answer 503.
          if (frontend.endpoints.length === 0) drains.close(life)
          publisher.publish(life, { ...frontend, layer: publisher.frontendOf(id)!.layer }, changes)
        }
      }
    })
    this.#queue.run()
  }

  stop(): void {
    this.#queue.stop()
    clearTimeout(this.#paceTimer)
  }

  /** @param frontend undefined for one that is gone */
  #plan(id: string, frontend: Frontend | undefined, arrived: number | undefined): void {
    const life = this.#lives.get(id)
    if (life) {
      this.#queue.remove(id)
      life.pending = undefined
      life.later = undefined
    }
    if (frontend?.layer.wants === 'envoy') this.#want(life ?? this.#create(id), frontend, arrived)
    else if (life) this.#unwant(life, frontend)
  }

  #create(id: string): Lifecycle {
    const life = new Lifecycle(id)
    this.#lives.set(id, life)
    return life
  }

  #unwant(life: Lifecycle, frontend: Frontend | undefined): void {
    if (!this.#actuators.publisher.has(life.id)) {
      life.on('dropped')
      this.#lives.delete(life.id)
      return
    }
    this.#actuators.redirects.withdraw(life, 'unwanted')
    if (frontend) life.pending = { frontend, until: 'kernel', arrived: undefined }
  }

  #want(life: Lifecycle, wanted: Frontend, arrived: number | undefined): void {
    const paced = this.#paced(life, wanted)
    if (!paced) return
    if (!this.#actuators.publisher.hasMoved(paced)) {
      this.#enqueue(life, paced, arrived)
      return
    }
    this.#actuators.redirects.withdraw(life, 'moved')
    life.pending = { frontend: paced, until: 'kernel', arrived }
  }

  /** What may be published now; undefined where the frontend waits in the kernel layer for its addresses. */
  #paced(life: Lifecycle, wanted: Frontend): Frontend | undefined {
    const { publisher, redirects, drains } = this.#actuators
    const before = publisher.frontendOf(life.id)
    const { frontend, isLater } = this.#hasBegun
      ? this.#pace.pace(wanted, before)
      : { frontend: wanted, isLater: false }
    if (isLater) {
      life.later = wanted
      this.#paceTimer ??= setTimeout(() => this.#takeLater(), paceMs)
    }
    if (frontend) drains.cancel(life)
    else if (before) redirects.withdraw(life, 'unwanted')
    else life.on('wanted')
    return frontend
  }

  /** The kernel has had these for long. */
  #takeLater(): void {
    this.#paceTimer = undefined
    const waiting = [...this.#lives.values()].filter(({ later }) => later)
    for (const life of waiting) {
      const wanted = life.later!
      life.later = undefined
      const paced = this.#paced(life, wanted)
      if (paced) this.#enqueue(life, paced, undefined)
    }
    this.#queue.run()
  }

  #enqueue(life: Lifecycle, frontend: Frontend, arrived: number | undefined): void {
    life.pending = { frontend, until: 'turn', arrived }
    this.#queue.add(life.id, life, frontend.endpoints.length)
  }

  #publish(lives: readonly Lifecycle[]): void {
    const { publisher, redirects } = this.#actuators
    const published: Frontend[] = []
    publisher.update(changes => {
      for (const life of lives) {
        const { frontend, arrived } = life.pending!
        life.pending = undefined
        published.push(frontend)
        publisher.publish(life, frontend, changes, arrived)
      }
    })
    for (const life of lives) redirects.published(life, publisher.redirectOf(life.id))
    this.#options.onPublished?.(published)
  }
}
