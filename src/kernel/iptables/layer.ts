/**
 * The kernel layer by iptables and ipset. A sync (syncloop.ts) takes at most two ipset processes and one of iptables-restore
 * for each family, however much it writes.
 *
 * What comes goes into sets first and into rules after that, what goes leaves in the other order: the overlay never holds
 * a port that has no chain.
 */

import type { PolicyFacts } from '../../plan/policies.ts'
import { type PortState, serviceKeyOf } from '../../plan/ports/port.ts'
import type { Problem } from '../../services/problem.ts'
import { type Family, familiesOf } from '../family.ts'
import type { KernelLayer, KernelObserver, PortSnapshot } from '../layer.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { calledSeconds } from '../nftables/elements/elements.ts'
import { heartbeatInterval } from '../nftables/heartbeat.ts'
import { type NodeConfig, unknownNode } from '../nodeconfig.ts'
import type { KernelOptions } from '../options.ts'
import { Overlay, type VipPort } from '../overlay.ts'
import { repeat } from '../repeat.ts'
import { refusalsAtOnce, writeSplitting } from '../splitting.ts'
import { SyncLoop } from '../syncloop.ts'
import { type CommandError, commandProblem } from '../system/command.ts'
import { removeStaleUdp, staleFrontends } from '../system/conntrack.ts'
import { ensureRouting } from '../system/routing.ts'
import { RoutingKeeper } from '../system/routingkeeper.ts'
import { type RoutingEvents, watchRouting } from '../system/routingwatch.ts'
import { StaleFlows } from '../system/staleflows.ts'
import { type Batch, batchOf, isOfOverlay, Members, renderBatch, sizesOf } from './batch.ts'
import { calledSet, heartbeatSet, overlaySwitch, renderSets, systemSetName } from './chains.ts'
import { renderHeartbeat } from './heartbeat.ts'
import { findMissingPart, renderFixedPart } from './install.ts'
import { isSwitchedOff, renderOverlaySwitch } from './overlay.ts'
import { type PortRules, planNode, planPort } from './ports.ts'
import { IptablesPrograms } from './programs.ts'
import type { SavedPortChain, SavedRules } from './saved.ts'
import { adopt, describe, isOurs, isWhole, problemsOf, type Written, withoutOverlay } from './written.ts'

interface PortRecord {
  readonly id: string
  /** Undefined: nothing any more. */
  state: PortState | undefined
  /** What the kernel has of it. */
  written: Written | undefined
  /** Why it could not be written. */
  problem: Problem | undefined
}

interface PortChange {
  readonly record: PortRecord
  readonly wanted: Written | undefined
}

type SavedChains = ReadonlyMap<Family, ReadonlyMap<string, SavedPortChain>>

export class IptablesLayer implements KernelLayer {
  readonly #options: KernelOptions
  readonly #observer: KernelObserver
  readonly #families: readonly Family[]
  readonly #programs: IptablesPrograms
  readonly #ports = new Map<string, PortRecord>()
  readonly #dirty = new Set<string>()
  readonly #overlay = new Overlay()
  readonly #syncLoop: SyncLoop
  readonly #staleFlows: StaleFlows
  readonly #routing: RoutingKeeper
  #node: Omit<NodeConfig, 'node'> = unknownNode
  #wantedNode: PortRules
  #writtenNode: PortRules
  #members = new Members()
  /** Whose overlay people have switched off, as last seen: who destroys our sets does not switch it on. */
  #switchedOff: readonly Family[] = []
  #stopWatching: (() => void) | undefined

  constructor(options: KernelOptions, observer: KernelObserver = {}) {
    this.#options = options
    this.#observer = observer
    this.#families = familiesOf(options.families)
    this.#programs = new IptablesPrograms(options.prefix)
    this.#wantedNode = planNode(this.#node, options)
    this.#writtenNode = this.#wantedNode
    const job = {
      install: () => this.#install(),
      inherit: () => this.#inherit(),
      clearOverlay: () => this.#clearOverlay(),
      synchronise: () => this.#synchronise(),
      hasChanges: () => this.#dirty.size > 0 || this.#wantedNode !== this.#writtenNode,
      writeChanges: () => this.#writeChanges(),
    }
    this.#syncLoop = new SyncLoop(['iptables', ...options.families].join(', '), job, observer, options.coalesceMs)
    const routing = {
      ensureRouting: async (family: Family) => ensureRouting(family, options, options.netns),
      watchRouting: (events: RoutingEvents) => watchRouting(options.routeTable, events, options.netns),
    }
    this.#routing = new RoutingKeeper(this.#families, routing, observer, () => this.#syncLoop.reinstall())
    this.#staleFlows = new StaleFlows(frontends => removeStaleUdp(frontends, options.netns), observer)
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

  synced(): void {
    this.#syncLoop.synced()
  }

  /** What asks for the node's addresses is not served. */
  setNode(): void {}

  /** Only the node's address is served here, and whoever decides knows it. */
  async setClientAddress(): Promise<void> {}

  /** To the second. */
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
    const record = this.#ports.get(state.id) ?? {
      id: state.id,
      state: undefined,
      written: undefined,
      problem: undefined,
    }
    this.#ports.set(state.id, record)
    this.#overlay.changeOwner(state.id, record.state, state)
    record.state = state
    this.#observer.problems?.(`iptables ${state.id}`, problemsOf(state))
    this.#touch(state.id)
  }

  removePort(id: string): void {
    const record = this.#ports.get(id)
    if (!record?.state) return
    this.#overlay.changeOwner(id, record.state, undefined)
    record.state = undefined
    this.#observer.problems?.(`iptables ${id}`, [])
    this.#touch(id)
  }

  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const owner of this.#overlay.set(vipPorts, on)) this.#touch(owner)
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
    return { elements, pending: this.#dirty.has(id) || !this.#syncLoop.isCacheValid, problem: record.problem }
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#members.totals
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

  #touch(id: string): void {
    this.#dirty.add(id)
    this.#syncLoop.schedule()
  }

  /** Looks for what somebody else took away; it only reads. What of a port is written meanwhile is not looked at. */
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

  /** What is refused here may be so because somebody else changed rules of ours: then all is compared. */
  async #writeChanges(): Promise<void> {
    await this.#writeNode()
    if (this.#dirty.size > 0) await this.#write([...this.#dirty].map(id => this.#changeOf(this.#ports.get(id)!)))
  }

  /** Before what may bring Service ports into the overlay. */
  async #writeNode(): Promise<void> {
    const after = this.#wantedNode
    if (after === this.#writtenNode) return
    await this.#apply(batchOf([{ before: this.#writtenNode, after }], this.#members), [])
    this.#writtenNode = after
  }

  async #install(): Promise<void> {
    const off = (await this.#hasSwitch()) ? [] : this.#switchedOff
    const sets = [...this.#families.map(renderSets), ...off.map(family => renderOverlaySwitch(family, false))]
    const before = await this.#programs.sets()
    await this.#programs.restoreSets(sets.join(''))
    // What another version has redirected so far goes on.
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

  /** As KernelTables: only once all is as it shall be. */
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
      const [, ip, port] = /^lightpath-envoy\d (\S+),tcp:(\d+)$/.exec(member) ?? []
      if (ip !== undefined) this.#overlay.inherit({ ip, port: Number(port) })
    }
  }

  async #clearOverlay(): Promise<void> {
    const sets = this.#families.map(family => systemSetName(family, 'envoy'))
    await this.#programs.restoreSets(sets.map(set => `flush ${set}\n`).join(''))
    this.#members.forget(isOfOverlay)
    for (const record of this.#ports.values()) if (record.written) record.written = withoutOverlay(record.written)
  }

  /** Takes what is there and right for written, writes what is missing, and removes what is of no port. */
  async #synchronise(): Promise<void> {
    const members = await this.#programs.saveMembers()
    const chains = new Map<Family, ReadonlyMap<string, SavedPortChain>>()
    for (const family of this.#families) chains.set(family, (await this.#programs.save(family)).ports)
    this.#members = new Members()
    const found = this.#wantedNode.members.filter(member => members.has(member))
    this.#writtenNode = { ...this.#wantedNode, members: found }
    for (const member of found) this.#members.add(member)
    await this.#writeNode()
    for (const record of this.#ports.values()) {
      const { wanted } = this.#changeOf(record)
      record.written = wanted && adopt(wanted, members, chains.get(wanted.rules.family)!)
      for (const member of record.written?.rules.members ?? []) this.#members.add(member)
    }
    const changes = [...this.#ports.values()].map(record => this.#changeOf(record))
    const wanted = new Set(changes.map(change => change.wanted?.rules.chain?.name))
    // A chain that somebody else changed has to go before it can come.
    await this.#apply(
      this.#unused(chains, name => wanted.has(name)),
      [],
    )
    const refuse = ({ record }: PortChange, error: CommandError) => this.#refuse(record, error)
    await writeSplitting(changes, refusalsAtOnce(), part => this.#write(part), refuse)
    const oldMembers = [...members].filter(member => isOurs(member, this.#families) && !this.#members.has(member))
    await this.#apply({ ...this.#unused(chains, name => !wanted.has(name)), oldMembers }, [])
    await this.#renewHeartbeat()
  }

  /** What takes away those of the chains in the kernel that no port has. */
  #unused(chains: SavedChains, isMeant: (name: string) => boolean): Batch {
    const used = new Set([...this.#ports.values()].map(({ written }) => written?.rules.chain?.name))
    const removed = [...chains].map(([family, there]) => {
      const names = [...there.keys()].filter(name => !used.has(name) && isMeant(name))
      return [family, names.map(name => ({ name, dispatch: there.get(name)!.dispatch }))] as const
    })
    return { newMembers: [], oldMembers: [], added: new Map(), removed: new Map(removed) }
  }

  /** From here on the port is dirty only by what comes later. */
  #changeOf(record: PortRecord): PortChange {
    this.#dirty.delete(record.id)
    const { state } = record
    if (!state || !this.#options.families.includes(state.family)) return { record, wanted: undefined }
    return { record, wanted: { state, rules: planPort(state, this.#overlay.of(state).length > 0, this.#options) } }
  }

  #refuse(record: PortRecord, error: CommandError): void {
    const remedy = 'the kernel keeps what it has of this port, and it is tried again when the port changes'
    record.problem = commandProblem(`Service ${serviceKeyOf(record.id)}`, error, remedy)
    this.#observer.problems?.(`kernel ${record.id}`, [record.problem])
  }

  async #write(changes: readonly PortChange[]): Promise<void> {
    const steps = changes.map(({ record, wanted }) => ({ before: record.written?.rules, after: wanted?.rules }))
    const ports = changes.map(({ record }) => record.id)
    try {
      await this.#apply(batchOf(steps, this.#members), ports)
    } catch (error) {
      const back = steps.map(({ before, after }) => ({ before: after, after: before }))
      batchOf(back, this.#members)
      throw error
    }
    for (const { record, wanted } of changes) {
      if (wanted?.state) {
        // What comes from outside is not ours here.
        const [before, after] = [record.written?.state, wanted.state].map(inside)
        this.#staleFlows.add(staleFrontends(before, after!))
      }
      record.written = wanted
      if (record.problem) {
        record.problem = undefined
        this.#observer.problems?.(`kernel ${record.id}`, [])
      }
      if (!wanted && !record.state) this.#ports.delete(record.id)
    }
    this.#observer.applied?.(ports.filter(id => !this.#dirty.has(id)))
  }

  async #apply(batch: Batch, ports: readonly string[]): Promise<void> {
    const start = performance.now()
    const { first, rules, last } = renderBatch(batch, this.#families)
    await this.#programs.restoreSets(first)
    for (const [family, text] of rules) await this.#programs.restore(family, text)
    await this.#programs.restoreSets(last)
    const bytes = [first, last, ...rules.values()].join('').length
    if (bytes === 0) return
    const { added, removed } = sizesOf(batch)
    this.#observer.flushed?.({ ports, added, removed, bytes, milliseconds: performance.now() - start })
  }
}

function inside(state: PortState | undefined): PortState | undefined {
  return state && { ...state, external: undefined }
}
