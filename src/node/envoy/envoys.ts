/**
 * Tracks the Envoys of this node, and which of them take new connections. There is one, and two while one follows the
 * other: then both listen on the redirect port, and Linux shares new connections out among them.
 *
 * So an Envoy gets the redirect listeners, by becoming active, when it has everything else. One that is about to end
 * (its canary says so) loses them when another takes over; without another it keeps them, and nothing more is
 * redirected to it.
 */

import { connectionsIn } from '../../envoy/program/connections.ts'
import { hasModule } from '../../envoy/program/module.ts'
import { type Instance, instanceIn } from '../../envoy/program/sockets.ts'
import type { ResourceRef } from '../../envoy/resource.ts'
import type { Problem } from '../../services/problem.ts'
import type { ClientAddress } from '../../services/settings/clientaddress.ts'
import type { XdsClients } from '../../xds/server.ts'
import type { ClientInfo } from '../../xds/session.ts'
import { bootstrapProblems, type ClientAddressChoice } from '../probes/clientaddress.ts'
import { type Canary, type CanaryAnswer, isUnfit, shortageIn } from './canary.ts'
import { bootstrapOf, loadProblem, versionProblems } from './envoyproblems.ts'

export interface EnvoysOptions {
  /** The listeners that are bound, where redirected connections arrive: only active Envoys have them. */
  readonly boundListeners: readonly ResourceRef[]
  /** What their bootstraps have to fit. */
  readonly clientAddress: ClientAddressChoice
  readonly watchCanary: (instance: Instance, onChange: (answer: CanaryAnswer) => void) => Canary
  /** Whether an Envoy that stops listening hands over the connections that wait there (tcp_migrate_req). */
  readonly handsOver: () => boolean
  readonly xds: XdsClients
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

interface EnvoysEvents {
  /** The Envoys changed: which there are, which answer, or which take new connections. */
  changed(): void
  /** This Envoy is about to take new connections. Returns how long (milliseconds) it has to wait for that. */
  admitting(clientId: number): number
}

/** `coming`: it takes no connections yet; `silent`: it takes them, and its canary does not answer; `overloaded`: short of memory or full. */
export type EnvoyState = 'coming' | 'serving' | 'overloaded' | 'ending' | 'silent'

interface ConnectedEnvoy extends ClientInfo {
  readonly instance: Instance
  readonly connectedSince: Date
}

interface Known {
  readonly envoy: ConnectedEnvoy
  canary: Canary
  /** The canary's last answer; undefined before the first, and again once its stream has ended. */
  answer: CanaryAnswer | undefined
  /** False for one whose stream has ended and that may still listen. */
  connected: boolean
  settled: boolean
  active: boolean
  admission: NodeJS.Timeout | undefined
}

export class Envoys {
  readonly #options: EnvoysOptions
  readonly #events: EnvoysEvents
  readonly #known = new Map<number, Known>()
  #clientAddress: ClientAddressChoice
  #haveModule = true
  #stopped = false

  constructor(options: EnvoysOptions, events: EnvoysEvents) {
    this.#options = options
    this.#events = events
    this.#clientAddress = options.clientAddress
  }

  /** The connected Envoys. */
  get all(): readonly ConnectedEnvoy[] {
    return [...this.#known.values()].filter(({ connected }) => connected).map(({ envoy }) => envoy)
  }

  /** The Envoys to ask through their admin interfaces; with none connected, the one that would be. */
  get instances(): readonly Instance[] {
    const found = new Set(this.all.map(({ instance }) => instance))
    return found.size > 0 ? [...found] : [1]
  }

  /**
   * Whether all connected Envoys have the module; as long as none is connected, whether all had it that were. Before the
   * first it is taken for granted, as of the image's Envoy: else all would be made for Envoy, and then once more.
   */
  get haveModule(): boolean {
    if (this.all.length > 0) this.#haveModule = this.all.every(({ metadata }) => hasModule(metadata))
    return this.#haveModule
  }

  /** How many connections of clients the connected Envoys take together; undefined with none. */
  get mostConnections(): number | undefined {
    if (this.all.length === 0) return undefined
    return this.all.reduce((sum, { metadata }) => sum + connectionsIn(metadata), 0)
  }

  /** What the bootstraps of the connected Envoys are for. */
  get bootstraps(): readonly ClientAddress[] {
    return this.all.map(bootstrapOf)
  }

  /**
   * Whether connections may be redirected: an Envoy takes and serves them, and none takes them that does not serve. One
   * that is about to end serves on while another comes.
   */
  get isUp(): boolean {
    const takers = this.#takers()
    const serves = (one: Known) =>
      one.connected && (one.answer === 'serving' || (one.answer === 'draining' && this.#hasFollower(one)))
    const mayServe = ({ connected, answer }: Known) => (connected ? !isUnfit(answer) : answer === undefined)
    return takers.some(serves) && takers.every(mayServe)
  }

  connected(client: ClientInfo): void {
    const instance = instanceIn(client.metadata)
    for (const [id, { envoy, connected }] of this.#known) {
      if (!connected && envoy.instance === instance) this.#forget(id)
    }
    this.#known.set(client.id, {
      envoy: { ...client, instance, connectedSince: new Date() },
      canary: this.#watch(client.id, instance),
      answer: undefined,
      connected: true,
      settled: false,
      active: false,
      admission: undefined,
    })
    this.#report()
    this.#events.changed()
  }

  /**
   * An Envoy that took connections may still do so after its stream broke: it counts until its canary says that it is
   * gone.
   */
  disconnected(clientId: number): void {
    const one = this.#known.get(clientId)
    if (!one || this.#stopped) return
    const isBack = this.all.some(({ id, instance }) => id !== clientId && instance === one.envoy.instance)
    const mayTake = one.active && !isBack
    this.#forget(clientId)
    if (mayTake) {
      const canary = this.#watch(clientId, one.envoy.instance)
      this.#known.set(clientId, { ...one, canary, connected: false, answer: undefined, admission: undefined })
    }
    this.#report()
    this.#review()
  }

  /** This Envoy has everything that it can have for now. */
  settled(clientId: number): void {
    const one = this.#known.get(clientId)
    if (!one || one.settled) return
    one.settled = true
    this.#review()
  }

  /** This Envoy was active before its stream began. */
  active(clientId: number): void {
    const one = this.#known.get(clientId)
    if (one) one.active = true
  }

  /** Resources of these types were acknowledged, or are gone. */
  sharedChanged(): void {
    this.#review()
  }

  setClientAddress(choice: ClientAddressChoice): void {
    this.#clientAddress = choice
    this.#report()
  }

  /**
   * Whether each Envoy that takes new connections has acknowledged a version of it; for shared ones it is enough that
   * one has.
   */
  have(ref: ResourceRef): boolean {
    const takers = this.#takers()
    const has = ({ envoy }: Known) => this.#options.xds.acknowledgedVersion(envoy.id, ref) !== undefined
    const isShared = this.#options.boundListeners.some(
      ({ typeUrl, name }) => typeUrl === ref.typeUrl && name === ref.name,
    )
    return isShared ? takers.some(has) : takers.length > 0 && takers.every(has)
  }

  stateOf(clientId: number): EnvoyState {
    const one = this.#known.get(clientId)
    if (one?.answer === 'draining') return 'ending'
    if (!one || !this.#takers().includes(one)) return 'coming'
    if (shortageIn(one.answer)) return 'overloaded'
    return one.answer === 'serving' ? one.answer : 'silent'
  }

  /**
   * The version that each Envoy has acknowledged that takes new connections; with none that does, each connected one.
   */
  acknowledged(ref: ResourceRef): readonly (string | undefined)[] {
    const takers = this.#takers().map(({ envoy }) => envoy)
    const asked = takers.length > 0 ? takers : this.all
    return asked.map(({ id }) => this.#options.xds.acknowledgedVersion(id, ref))
  }

  stop(): void {
    this.#stopped = true
    for (const { canary, admission } of this.#known.values()) {
      canary.stop()
      clearTimeout(admission)
    }
  }

  #takers(): readonly Known[] {
    return [...this.#known.values()].filter(one => one.active || this.#listens(one))
  }

  #listens({ envoy }: Known): boolean {
    return this.#options.boundListeners.some(ref => this.#options.xds.acknowledgedVersion(envoy.id, ref) !== undefined)
  }

  /** Whether another Envoy is coming, or is there, that takes over. */
  #hasFollower(one: Known): boolean {
    if (!this.#options.handsOver()) return false
    const others = [...this.#known.values()].filter(other => other !== one && other.connected)
    return others.some(({ answer }) => answer !== 'draining' && !isUnfit(answer))
  }

  #review(): void {
    if (this.#stopped) return
    for (const one of this.#known.values()) if (this.#mayTake(one)) this.#admit(one)
    for (const one of this.#known.values()) if (this.#isReplaced(one)) this.#dismiss(one)
    this.#events.changed()
  }

  /** Without a handover, one Envoy begins when the other has ended. */
  #mayTake(one: Known): boolean {
    if (!one.connected || !one.settled || one.active) return false
    if (one.answer === 'draining' || isUnfit(one.answer)) return false
    return this.#options.handsOver() || this.#takers().every(other => other === one)
  }

  #isReplaced(one: Known): boolean {
    const isFollower = (other: Known) => other !== one && other.answer === 'serving' && this.#listens(other)
    return one.active && one.answer === 'draining' && this.#options.handsOver() && this.#takers().some(isFollower)
  }

  /** From now on this Envoy, too, has to have acked what is redirected. */
  #admit(one: Known): void {
    one.active = true
    const { id } = one.envoy
    one.admission = setTimeout(() => this.#options.xds.setActive(id, true), this.#events.admitting(id))
  }

  #dismiss(one: Known): void {
    one.active = false
    clearTimeout(one.admission)
    this.#options.xds.setActive(one.envoy.id, false)
  }

  #watch(id: number, instance: Instance): Canary {
    return this.#options.watchCanary(instance, answer => {
      const one = this.#known.get(id)
      if (!one) return
      one.answer = answer
      this.#reportLoad()
      if (!one.connected && answer === 'refused') this.#forget(id)
      this.#review()
    })
  }

  #forget(id: number): void {
    const one = this.#known.get(id)
    one?.canary.stop()
    clearTimeout(one?.admission)
    this.#known.delete(id)
  }

  #reportLoad(): void {
    const problems = [...this.#known.values()].flatMap(({ answer, envoy }) => {
      const shortage = shortageIn(answer)
      return shortage ? loadProblem(envoy, shortage) : []
    })
    this.#options.onProblems('Envoy load', problems)
  }

  #report(): void {
    this.#options.onProblems('Envoy version', this.all.flatMap(versionProblems))
    const bootstraps = this.all.flatMap(envoy => {
      return bootstrapProblems(this.#clientAddress, envoy.nodeId, bootstrapOf(envoy))
    })
    this.#options.onProblems('Envoy bootstrap', bootstraps)
  }
}
