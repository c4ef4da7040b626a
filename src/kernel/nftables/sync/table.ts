/** Our tables: their desired and their written state, and how each sync (sync/syncloop.ts) takes one to the other. */

import type { PolicyFacts } from '../../../plan/policies.ts'
import type { PortState } from '../../../plan/ports/port.ts'
import type { ClientAddress } from '../../../services/settings/clientaddress.ts'
import { type Family, familiesOf } from '../../family.ts'
import type { KernelLayer, KernelObserver, PortSnapshot } from '../../layer.ts'
import { type NodeConfig, type NodeFacts, unknownNode } from '../../nodeconfig.ts'
import type { KernelOptions } from '../../options.ts'
import { Overlay, type VipPort } from '../../overlay.ts'
import { SyncLoop } from '../../sync/syncloop.ts'
import { staleFrontends } from '../../system/connections/conntrack.ts'
import { StaleFlows } from '../../system/connections/staleflows.ts'
import { RoutingKeeper } from '../../system/routing/keeper.ts'
import { addressPortOf } from '../bytes.ts'
import {
  calledSeconds,
  calledSet,
  type ElementSink,
  type Elements,
  nodeOwner,
  overlaySets,
} from '../elements/elements.ts'
import { planNode } from '../elements/node.ts'
import { nothingRedirected, type Placement, type Redirected } from '../elements/plan.ts'
import { elementLine } from '../elements/text.ts'
import { renewHeartbeat } from '../heartbeat.ts'
import type { Operation } from '../operations.ts'
import { type KernelPrograms, systemPrograms } from '../programs.ts'
import { watchDrift } from './drift/driftwatch.ts'
import { findDrift, findPresence } from './drift/inspection.ts'
import { checkInstalled, installation } from './installation.ts'
import { Ports } from './ports/ports.ts'
import { changeOf, elementsOf, type PortChange, type PortRecord, planRecord, staysRedirected } from './ports/record.ts'
import { Writer } from './transaction/writer.ts'

export class KernelTables implements KernelLayer {
  #options: KernelOptions
  readonly #families: readonly Family[]
  readonly #observer: KernelObserver
  readonly #programs: KernelPrograms
  readonly #writer: Writer
  readonly #ports: Ports
  readonly #overlay = new Overlay()
  readonly #syncLoop: SyncLoop
  readonly #staleFlows: StaleFlows
  readonly #routing: RoutingKeeper
  /** The desired and the written elements of the node itself. */
  #node = unknownNode
  #nodeElements: Elements
  #writtenNode: Elements = new Map()
  /** The families whose overlay people have switched off, as last seen: to delete our tables does not switch it on. */
  readonly #switchedOff = new Set<Family>()
  #stopWatching: (() => void) | undefined

  constructor(
    options: KernelOptions,
    observer: KernelObserver = {},
    programs = systemPrograms(options, options.netns),
  ) {
    this.#options = options
    this.#families = familiesOf(options.families)
    this.#observer = observer
    this.#programs = programs
    this.#nodeElements = planNode(unknownNode, options)
    this.#writer = new Writer(programs.nft, this.#families, observer)
    this.#ports = new Ports(this.#writer, observer, {
      changeOf: record => this.#changeOf(record),
      plan: (elements, record) => this.#plan(elements, record),
      elementsOf: record => elementsOf(record, this.#options),
      written: changes => this.#written(changes),
      schedule: record => this.#syncLoop.schedule(!staysRedirected(record, this.#redirectedOf(record))),
    })
    const job = {
      install: (hasDrift: boolean) => this.#install(hasDrift),
      inherit: () => this.#inherit(),
      clearOverlay: () => this.#clearOverlay(),
      synchronise: () => this.#synchronise(),
      hasChanges: () => this.#ports.areDirty || this.#nodeElements !== this.#writtenNode,
      writeChanges: () => this.#writeChanges(),
    }
    this.#syncLoop = new SyncLoop(['nftables', ...options.families].join(', '), job, observer, options.coalesceMs)
    this.#routing = new RoutingKeeper(this.#families, programs, observer, () => this.#syncLoop.reinstall())
    this.#staleFlows = new StaleFlows(frontends => programs.removeStaleFlows(frontends), observer)
  }

  async start(): Promise<readonly VipPort[]> {
    this.#syncLoop.schedule()
    this.#stopWatching = this.#watch()
    this.#routing.watch()
    await this.#syncLoop.attempted
    return this.#overlay.inherited
  }

  synced(): Promise<void> {
    return this.#syncLoop.synced()
  }

  setNode(node: NodeFacts | undefined): void {
    if (JSON.stringify(node) === JSON.stringify(this.#node.node)) return
    this.#change({ node })
    for (const { id, state } of this.#ports.values()) if (state?.external?.sourceRanges.length) this.#ports.touch(id)
  }

  setPort(state: PortState): void {
    this.#overlay.changeOwner(state.id, this.#ports.get(state.id)?.state, state)
    this.#ports.set(state)
  }

  removePort(id: string): void {
    const state = this.#ports.get(id)?.state
    if (!state) return
    this.#overlay.changeOwner(id, state, undefined)
    this.#ports.remove(id)
  }

  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const owner of this.#overlay.set(vipPorts, on)) this.#ports.touch(owner)
  }

  setPolicies(policies: PolicyFacts): void {
    this.#change({ policies })
  }

  async setClientAddress(clientAddress: ClientAddress): Promise<void> {
    this.#options = { ...this.#options, clientAddress }
    this.#syncLoop.reinstall()
    await this.#syncLoop.settled()
  }

  setServiceRanges(serviceRanges: readonly string[]): void {
    if (serviceRanges.join() !== this.#node.serviceRanges.join()) this.#change({ serviceRanges })
  }

  clearOverlay(): void {
    this.#overlay.clear()
    this.#syncLoop.clearOverlay()
  }

  dropInheritedOverlay(): void {
    this.setOverlay(this.#overlay.inherited, false)
  }

  async calls(): Promise<ReadonlyMap<string, number>> {
    const calls = new Map<string, number>()
    if (!this.#options.tracksUse) return calls
    for (const family of this.#families) {
      for (const [key, remaining] of (await this.#programs.nft.remaining(family, calledSet)) ?? []) {
        const id = this.#overlay.ownerOf(key)
        if (id === undefined) continue
        const age = Math.max(0, calledSeconds * 1000 - remaining)
        calls.set(id, Math.min(age, calls.get(id) ?? age))
      }
    }
    return calls
  }

  snapshot(id: string): PortSnapshot | undefined {
    const record = this.#ports.get(id)
    if (!record) return undefined
    const pending = this.#ports.isDirty(id) || !this.#syncLoop.isCacheValid
    const elements = [...elementsOf(record, this.#options)].map(([name, value]) => elementLine(name, value))
    return { elements, pending, problem: record.refusal?.problem }
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#writer.totals
  }

  /** Compares all that the kernel has with all that was written, as the periodic task does, and corrects what differs. */
  async compare(): Promise<void> {
    if (!this.#syncLoop.isCacheValid) return
    await this.#routing.ensure()
    const written = { node: () => this.#writtenNode, ports: this.#ports }
    this.#suspect(
      await this.#writer.reading(isTouched =>
        findDrift(this.#programs.nft, this.#families, this.#options, written, isTouched),
      ),
    )
  }

  async settled(): Promise<void> {
    await this.#syncLoop.settled()
    await this.#staleFlows.settled()
  }

  async close(): Promise<void> {
    const closed = Promise.all([this.#syncLoop.close(), this.#staleFlows.close()])
    this.#stopWatching?.()
    this.#routing.stop()
    this.#ports.close()
    await closed
    this.#programs.close()
  }

  #change(changed: Partial<NodeConfig>): void {
    this.#node = { ...this.#node, ...changed }
    this.#nodeElements = planNode(this.#node, this.#options)
    this.#syncLoop.schedule()
  }

  #changeOf(record: PortRecord): PortChange {
    return changeOf(record, this.#redirectedOf(record), this.#node.node, this.#options)
  }

  #plan(elements: ElementSink, record: PortRecord): Placement | undefined {
    return planRecord(elements, record, this.#redirectedOf(record), this.#node.node, this.#options)
  }

  #redirectedOf({ state }: PortRecord): Redirected {
    return state ? this.#overlay.of(state) : nothingRedirected
  }

  #written(changes: readonly PortChange[]): void {
    for (const { before, state } of changes) if (state) this.#staleFlows.add(staleFrontends(before, state))
  }

  #watch(): () => void {
    const presence = async () => {
      for (const family of this.#families) if (this.#syncLoop.isInstalled) await this.#probe(family)
    }
    const comparison = () => this.compare()
    const heartbeat = async () => {
      if (this.#syncLoop.isCacheValid) await this.#renewHeartbeat()
    }
    const work = { presence, comparison, heartbeat }
    return watchDrift(this.#families, this.#options, work, this.#programs, this.#observer)
  }

  async #probe(family: Family): Promise<void> {
    const { missing, isOff } = await findPresence(this.#programs.nft, family)
    if (missing !== undefined) return this.#suspect(missing)
    if (isOff) this.#switchedOff.add(family)
    else this.#switchedOff.delete(family)
    this.#observer.overlaySwitched?.(this.#switchedOff.size > 0)
  }

  #suspect(drift: string | undefined): void {
    if (drift !== undefined) this.#syncLoop.drifted(drift)
  }

  async #install(hasDrift: boolean): Promise<void> {
    const operations: Operation[] = []
    for (const family of this.#families) {
      const seen = { hasDrift, isOff: this.#switchedOff.has(family) }
      operations.push(...(await installation(this.#programs.nft, family, this.#options, seen)))
    }
    if (operations.length > 0) await this.#programs.nft.apply(operations)
    await this.#routing.ensure()
  }

  async #inherit(): Promise<void> {
    for (const family of this.#families) {
      await this.#probe(family)
      for (const set of overlaySets) {
        for (const key of (await this.#programs.nft.keys(family, set)) ?? [])
          this.#overlay.inherit({ ...addressPortOf(key), isShared: set === 'envoy' })
      }
    }
  }

  async #clearOverlay(): Promise<void> {
    await this.#writer.clearOverlay()
    this.#ports.forgetOverlay()
  }

  async #writeChanges(): Promise<void> {
    await this.#writeNode()
    if (await this.#ports.writeDirty()) return
    await checkInstalled(this.#programs.nft, this.#families, this.#options)
  }

  /** Runs before the ports: redirect-exempt pods are in the kernel before anything goes to Envoy. */
  async #writeNode(): Promise<void> {
    const wanted = this.#nodeElements
    if (wanted === this.#writtenNode) return
    await this.#writer.write([{ current: this.#writtenNode, wanted }], [])
    this.#writtenNode = wanted
  }

  /** Reads all that the kernel has, compares it with the desired state, and writes what differs. */
  async #synchronise(): Promise<void> {
    const { unlike, owned } = await this.#ports.claim(await this.#writer.read())
    this.#writtenNode = owned.get(nodeOwner) ?? new Map()
    owned.delete(nodeOwner)
    await this.#writeNode()
    await this.#writer.removeStale(owned)
    if (await this.#ports.writeAll(unlike)) await this.#writer.removeLeftovers(owned)
    await this.#renewHeartbeat()
  }

  /**
   * Renews it only once the kernel has all that is desired: until then the rules that a long gone agent left stay
   * behind kube-proxy's.
   */
  async #renewHeartbeat(): Promise<void> {
    const operations = this.#families.flatMap(family => renewHeartbeat(family, this.#options.abandonAfter))
    await this.#programs.nft.apply(operations)
  }
}
