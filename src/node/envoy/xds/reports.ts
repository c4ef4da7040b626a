/** Takes what the Envoys of a node say of their resources, and finds the frontends that it concerns. */

import { type ResourceRef, typeUrls } from '../../../envoy/resource.ts'
import type { Nack, VersionedRef } from '../../../xds/client/messages.ts'
import type { ClientInfo, XdsObserver } from '../../../xds/session.ts'
import type { Lifecycle } from '../../lifecycle/lifecycle.ts'
import type { Publisher } from '../../lifecycle/publisher.ts'
import type { RedirectSet } from '../../lifecycle/redirectset.ts'
import type { Envoys } from '../envoys.ts'
import type { EnvoyModule } from '../module.ts'
import type { EnvoyLayerOptions } from '../options.ts'
import type { Nacks } from './nacks.ts'

export interface XdsReportsOptions extends Pick<EnvoyLayerOptions, 'onConnected' | 'onNack' | 'onProgrammed'> {
  /** The lifecycles, by id of the frontend. */
  readonly lives: ReadonlyMap<string, Lifecycle>
  readonly envoys: Envoys
  readonly publisher: Publisher
  readonly redirects: RedirectSet
  readonly nacks: Nacks
  readonly module: EnvoyModule
  /** Whether all frontends of a family, or all http ports, need it. */
  readonly isShared: (ref: ResourceRef) => boolean
}

/**
 * How many may be closing: each costs Envoy as much as a closing frontend (../lifecycle/drains.ts). Further ones are
 * removed at once.
 */
const mostUnknown = 100

export class XdsReports implements XdsObserver {
  readonly #options: XdsReportsOptions

  constructor(options: XdsReportsOptions) {
    this.#options = options
  }

  connected(client: ClientInfo): void {
    this.#options.envoys.connected(client)
    this.#options.module.review()
    this.#options.onConnected()
  }

  acknowledged(clientId: number, resources: readonly VersionedRef[]): void {
    for (const ref of resources) {
      const ms = this.#options.publisher.programmed(ref)
      if (ms !== undefined) this.#options.onProgrammed(this.#options.publisher.published.ownerOf(ref) ?? ref.name, ms)
      this.#options.nacks.acknowledged(clientId, ref)
    }
    for (const life of this.#livesOf(resources)) this.#options.redirects.check(life)
    if (resources.some(ref => this.#options.isShared(ref))) this.#options.envoys.sharedChanged()
  }

  /** Also for what an Envoy put aside by itself: endpoints that it rejected while their cluster changed. */
  gone(_clientId: number, refs: readonly ResourceRef[]): void {
    for (const life of this.#livesOf(refs)) this.#options.redirects.checkLoss(life)
    if (refs.some(ref => this.#options.isShared(ref))) this.#options.envoys.sharedChanged()
  }

  nacked(clientId: number, nack: Nack): void {
    const { ref } = nack
    this.#options.onNack(this.#options.publisher.published.ownerOf(ref) ?? ref.name)
    this.#options.publisher.rejected(ref)
    this.#options.nacks.add(clientId, nack)
  }

  settled(clientId: number): void {
    this.#options.envoys.settled(clientId)
  }

  active(clientId: number): void {
    this.#options.envoys.active(clientId)
  }

  /** A previous run of the agent published these: connections to addresses that nobody has now are to end. */
  unknown(_clientId: number, refs: readonly ResourceRef[]): void {
    const addresses = refs.filter(({ typeUrl }) => typeUrl === typeUrls.scope).slice(0, mostUnknown)
    this.#options.publisher.addFormer(addresses.map(({ name }) => name))
  }

  disconnected(clientId: number): void {
    this.#options.nacks.disconnected(clientId)
    this.#options.envoys.disconnected(clientId)
    this.#options.module.review()
  }

  *#livesOf(refs: readonly ResourceRef[]): Iterable<Lifecycle> {
    const ids = new Set(refs.map(ref => this.#options.publisher.published.ownerOf(ref)))
    for (const id of ids) {
      const life = id === undefined ? undefined : this.#options.lives.get(id)
      if (life) yield life
    }
  }
}
