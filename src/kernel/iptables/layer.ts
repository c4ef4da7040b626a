/**
 * The kernel layer by iptables and ipset. A sync (sync/syncloop.ts) takes at most two ipset processes and one of
 * iptables-restore for each family, however much it writes.
 *
 * Additions go into sets first and then into rules, removals the other way round: the overlay never holds a port
 * without a chain.
 */

import type { PolicyFacts } from '../../plan/policies.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { type Family, familiesOf } from '../family.ts'
import type { KernelLayer, KernelObserver, PortSnapshot } from '../layer.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { calledSeconds } from '../nftables/elements/elements.ts'
import { heartbeatInterval } from '../nftables/heartbeat.ts'
import { type NodeConfig, unknownNode } from '../nodeconfig.ts'
import type { KernelOptions } from '../options.ts'
import { Overlay, type VipPort } from '../overlay.ts'
import { repeat } from '../sync/repeat.ts'
import { SyncLoop } from '../sync/syncloop.ts'
import { removeStaleFlows, staleFrontends } from '../system/connections/conntrack.ts'
import { StaleFlows } from '../system/connections/staleflows.ts'
import { RoutingKeeper } from '../system/routing/keeper.ts'
import { ensureRouting } from '../system/routing/steering.ts'
import { type RoutingEvents, watchRouting } from '../system/routing/watch.ts'
import { calledSet, heartbeatSet, overlaySwitch, renderSets } from './chains.ts'
import { renderHeartbeat } from './heartbeat.ts'
import { findMissingPart, renderFixedPart } from './install.ts'
import { isSwitchedOff, renderOverlaySwitch } from './overlay.ts'
import { type PortRules, planNode, planPort } from './ports.ts'
import { IptablesPrograms } from './programs.ts'
import type { SavedPortChain, SavedRules } from './saved.ts'
import { ServicePorts } from './serviceports.ts'
import { Writer } from './writer.ts'
import { describe, isWhole, problemsOf } from './written.ts'

export class IptablesLayer implements KernelLayer {
  readonly #options: KernelOptions
  readonly #observer: KernelObserver
  readonly #families: readonly Family[]
  readonly #programs: IptablesPrograms
  readonly #writer: Writer
  readonly #ports: ServicePorts
  readonly #overlay = new Overlay()
  readonly #syncLoop: SyncLoop
  readonly #staleFlows: StaleFlows
  readonly #routing: RoutingKeeper
  #node: Omit<NodeConfig, 'node'> = unknownNode
  #wantedNode: PortRules
  #writtenNode: PortRules
  /** The families whose overlay people have switched off, as last seen: to destroy our sets does not switch it on. */
  #switchedOff: readonly Family[] = []
  #stopWatching: (() => void) | undefined

  constructor(options: KernelOptions, observer: KernelObserver = {}) {
    this.#options = options
    this.#observer = observer
    this.#families = familiesOf(options.families)
    this.#programs = new IptablesPrograms(options.prefix)
    this.#writer = new Writer(this.#programs, this.#families, observer)
    this.#ports = new ServicePorts(this.#writer, observer, {
      families: this.#families,
      rulesOf: state => this.#rulesOf(state),
      // This layer does not serve external addresses.
      written: (before, after) => this.#staleFlows.add(staleFrontends(before && inside(before), inside(after))),
      schedule: () => this.#syncLoop.schedule(),
    })
    this.#wantedNode = planNode(this.#node, options)
    this.#writtenNode = this.#wantedNode
    const job = {
      install: () => this.#install(),
      inherit: () => this.#inherit(),
      clearOverlay: () => this.#clearOverlay(),
      synchronise: () => this.#synchronise(),
      hasChanges: () => this.#ports.areDirty || this.#wantedNode !== this.#writtenNode,
      writeChanges: () => this.#writeChanges(),
    }
    this.#syncLoop = new SyncLoop(['iptables', ...options.families].join(', '), job, observer, options.coalesceMs)
    const routing = {
      ensureRouting: async (family: Family) => ensureRouting(family, options, options.netns),
      watchRouting: (events: RoutingEvents) => watchRouting(options.routeTable, events, options.netns),
    }
    this.#routing = new RoutingKeeper(this.#families, routing, observer, () => this.#syncLoop.reinstall())
    this.#staleFlows = new StaleFlows(frontends => removeStaleFlows(frontends, options.netns), observer)
  }

  async start(): Promise<readonly VipPort[]> {
    this.#syncLoop.schedule()
    const { comparisonMs = 60e3, comparisonShare = 0.01 } = this.#options
    const comparisons = repeat(() => this.#compare(), comparisonMs, comparisonShare)
    const heartbeats = repeat(() => this.#beat(), heartbeatInterval(this.#options.abandonAfter), 0.1)
    this.#stopWatching = () => {
      comparisons.stop()
      heartbeats.stop()
    }
    this.#routing.watch()
    await this.#syncLoop.attempted
    return this.#overlay.inherited
  }

  synced(): Promise<void> {
    return this.#syncLoop.synced()
  }

  /** Does nothing: this layer serves nothing that needs the node's addresses. */
  setNode(): void {}

  /** Does nothing: endpoints see the node's address here, and whoever decides knows it. */
  async setClientAddress(): Promise<void> {}

  /** Returns the ages to the second. */
  async calls(): Promise<ReadonlyMap<string, number>> {
    const calls = new Map<string, number>()
    if (!this.#options.tracksUse) return calls
    for (const family of this.#families) {
      for (const { ip, port, seconds } of await this.#programs.timeouts(calledSet(family))) {
        const id = this.#overlay.ownerOf(addressPortBytes({ ip, port }))
        if (id !== undefined) calls.set(id, Math.max(0, calledSeconds - seconds) * 1000)
      }
    }
    return calls
  }

  setServiceRanges(serviceRanges: readonly string[]): void {
    this.#changeNode({ serviceRanges })
  }

  setPort(state: PortState): void {
    this.#overlay.changeOwner(state.id, this.#ports.get(state.id)?.state, state)
    this.#observer.problems?.(`iptables ${state.id}`, problemsOf(state))
    this.#ports.set(state)
  }

  removePort(id: string): void {
    const state = this.#ports.get(id)?.state
    if (!state) return
    this.#overlay.changeOwner(id, state, undefined)
    this.#observer.problems?.(`iptables ${id}`, [])
    this.#ports.remove(id)
  }

  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const owner of this.#overlay.set(vipPorts, on)) this.#ports.touch(owner)
  }

  setPolicies(policies: PolicyFacts): void {
    this.#changeNode({ policies })
  }

  clearOverlay(): void {
    this.#overlay.clear()
    this.#syncLoop.clearOverlay()
  }

  dropInheritedOverlay(): void {
    this.setOverlay(this.#overlay.inherited, false)
  }

  snapshot(id: string): PortSnapshot | undefined {
    const record = this.#ports.get(id)
    if (!record) return undefined
    const elements = record.written ? describe(record.written.rules) : []
    return { elements, pending: this.#ports.isDirty(id) || !this.#syncLoop.isCacheValid, problem: record.problem }
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#writer.totals
  }

  async settled(): Promise<void> {
    await this.#syncLoop.settled()
    await this.#staleFlows.settled()
  }

  async close(): Promise<void> {
    this.#stopWatching?.()
    this.#routing.stop()
    await Promise.all([this.#syncLoop.close(), this.#staleFlows.close()])
  }

  #changeNode(change: Partial<Omit<NodeConfig, 'node'>>): void {
    this.#node = { ...this.#node, ...change }
    const wanted = planNode(this.#node, this.#options)
    if (wanted.members.join() === this.#wantedNode.members.join()) return
    this.#wantedNode = wanted
    this.#syncLoop.schedule()
  }

  #rulesOf(state: PortState): PortRules | undefined {
    if (!this.#options.families.includes(state.family)) return undefined
    return planPort(state, this.#overlay.of(state), this.#options)
  }

  /** Looks for drift, and only reads. It skips ports that are written meanwhile. */
  async #compare(): Promise<void> {
    if (!this.#syncLoop.isCacheValid) return
    await this.#routing.ensure()
    const before = [...this.#ports.values()].map(record => ({ record, written: record.written }))
    const members = await this.#programs.saveMembers()
    await this.#probeSwitch(members)
    const saved = new Map<Family, SavedRules>()
    for (const family of this.#families) saved.set(family, await this.#programs.save(family))
    const missing = this.#families.map(family => findMissingPart(family, saved.get(family)!, this.#options))
    const drifted = before.filter(
      ({ record, written }) => record.written === written && !isWhole(written, members, saved),
    )
    const what = missing.find(part => part !== undefined) ?? (drifted[0] && `rules of ${drifted[0].record.id}`)
    if (what !== undefined) this.#syncLoop.drifted(what)
  }

  /** Rejects where the kernel refuses a change, perhaps because of drift: the next sync compares all. */
  async #writeChanges(): Promise<void> {
    await this.#writeNode()
    await this.#ports.writeDirty()
  }

  /** Runs before what may bring Service ports into the overlay. */
  async #writeNode(): Promise<void> {
    const after = this.#wantedNode
    if (after === this.#writtenNode) return
    await this.#writer.write([{ before: this.#writtenNode, after }], [])
    this.#writtenNode = after
  }

  async #install(): Promise<void> {
    const off = (await this.#hasSwitch()) ? [] : this.#switchedOff
    const sets = [...this.#families.map(renderSets), ...off.map(family => renderOverlaySwitch(family, false))]
    const before = await this.#programs.sets()
    await this.#programs.restoreSets(sets.join(''))
    // Redirection that another version began goes on.
    if (!this.#families.every(family => before.includes(heartbeatSet(family)))) await this.#renewHeartbeat()
    for (const family of this.#families) {
      const saved = await this.#programs.save(family)
      await this.#programs.restore(family, renderFixedPart(family, saved, this.#options))
    }
    await this.#routing.ensure()
  }

  async #beat(): Promise<void> {
    if (this.#syncLoop.isCacheValid) await this.#renewHeartbeat()
  }

  /** Renews it only once the kernel has all that is desired, as KernelTables does. */
  async #renewHeartbeat(): Promise<void> {
    const { abandonAfter } = this.#options
    await this.#programs.restoreSets(this.#families.map(family => renderHeartbeat(family, abandonAfter)).join(''))
  }

  async #probeSwitch(members: ReadonlySet<string>): Promise<void> {
    if (!(await this.#hasSwitch())) return
    this.#switchedOff = this.#families.filter(family => isSwitchedOff(family, members))
    this.#observer.overlaySwitched?.(this.#switchedOff.length > 0)
  }

  async #hasSwitch(): Promise<boolean> {
    const sets = await this.#programs.sets()
    return this.#families.every(family => sets.includes(overlaySwitch(family)))
  }

  async #inherit(): Promise<void> {
    const members = await this.#programs.saveMembers()
    await this.#probeSwitch(members)
    for (const member of members) {
      const [, set, ip, port] = /^lightpath-(envoy|own)\d (\S+),tcp:(\d+)$/.exec(member) ?? []
      if (ip !== undefined) this.#overlay.inherit({ ip, port: Number(port), isShared: set === 'envoy' })
    }
  }

  async #clearOverlay(): Promise<void> {
    await this.#writer.clearOverlay()
    this.#ports.forgetOverlay()
  }

  /** Reads all that the kernel has, compares it with the desired state, and writes what differs. */
  async #synchronise(): Promise<void> {
    const members = await this.#programs.saveMembers()
    const chains = new Map<Family, ReadonlyMap<string, SavedPortChain>>()
    for (const family of this.#families) chains.set(family, (await this.#programs.save(family)).ports)
    this.#writer.reset()
    const found = this.#wantedNode.members.filter(member => members.has(member))
    this.#writtenNode = { ...this.#wantedNode, members: found }
    this.#writer.adopt(found)
    await this.#writeNode()
    await this.#ports.synchronise(members, chains)
    await this.#renewHeartbeat()
  }
}

function inside(state: PortState): PortState {
  return { ...state, external: undefined }
}
