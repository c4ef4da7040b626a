/**
 * The life cycle of our tables: what the kernel shall have, what it has, and the transactions from one to the other.
 *
 * Nothing about Services is written before `synced`: half of what is known at the start (a Service whose endpoints have
 * not been told yet) would turn a working Service into one that is refused. Then what the kernel has is read once and
 * compared, and after that each change costs what it touches. A restart that finds all as it should be writes nothing.
 *
 * One transaction runs at a time; what comes meanwhile goes together into the next. A transaction that fails is no
 * reason to lose anything: the tables are read again, all of them compared, and what still fails is split until the
 * port that cannot be written stands alone. It keeps what it has, is reported, and is tried again.
 */

import type { IpFamily } from '../services/address.ts'
import type { PortState } from '../services/port.ts'
import type { Problem } from '../services/problem.ts'
import { CommandError, type CommandPrefix, commandProblem } from './command.ts'
import { type Reconciliation, staleFrontends } from './conntrack.ts'
import { type Elements, type Family, nodeOwner } from './elements.ts'
import { findDamage, findMissingTable } from './inspection.ts'
import { Mirror, type OwnedElements, type Prepared } from './mirror.ts'
import { type NodeFacts, type NodePlanOptions, planNode, type Surroundings, unknownSurroundings } from './node.ts'
import { Overlay, type VipPort } from './overlay.ts'
import { portKeys } from './plan.ts'
import { type KernelPrograms, systemPrograms } from './programs.ts'
import { changeOf, elementsOf, forgetOverlay, type PortChange, type PortRecord } from './record.ts'
import { repeat } from './repeat.ts'
import { familiesOf, markerFor, type RulesetOptions, renderReplacement, tableName } from './ruleset.ts'
import { StaleFlows } from './stale-flows.ts'
import type { Transaction } from './transaction.ts'
import { backoffMs, Worker } from './worker.ts'

export interface KernelOptions extends RulesetOptions, NodePlanOptions {
  readonly families: readonly IpFamily[]
  readonly nodeName: string
  readonly routeTable: number
  /** Words before each command, for tests; see `CommandPrefix`. */
  readonly prefix?: CommandPrefix
  /** How long changes are gathered before they are written. Default 2. */
  readonly coalesceMs?: number
  /** How often it is looked whether a table is still there, one family each time. Default 1 s. */
  readonly presenceMs?: number
  /** How often all is compared, at the most. Default 5 minutes. */
  readonly comparisonMs?: number
  /** How much of the time that may take. Default 0.01. */
  readonly comparisonShare?: number
}

/** One transaction that was applied. */
export interface Flush {
  /** The ids of the ports whose elements it made as they were asked for. */
  readonly ports: readonly string[]
  readonly added: number
  readonly removed: number
  readonly bytes: number
  readonly milliseconds: number
}

/** One pass over what is to be written, once Services may be written at all. */
export interface Round {
  /** False where nft failed; refused ports do not count. It is tried again. */
  readonly ok: boolean
  /** All that the kernel has was read and compared; else only what changed was written. */
  readonly isFull: boolean
  /** By performance.now(): what was asked for before is in the kernel now, or refused. Says nothing unless `ok`. */
  readonly upTo: number
  readonly milliseconds: number
}

export interface KernelObserver {
  /** The kernel has these ports as they were last set, whether that took a transaction or not. */
  applied?(ports: readonly string[]): void
  flushed?(flush: Flush): void
  /** Somebody else changed our tables, such as `table ip lightpath is gone`. They are mended next. */
  damaged?(what: string): void
  round?(round: Round): void
  /** Conntrack was looked through for UDP flows that had gone stale. */
  reconciled?(families: readonly Reconciliation[]): void
  /** Replaces what was said of this origin before; an empty list says that all is well. */
  problems?(origin: string, problems: readonly Problem[]): void
}

export interface PortSnapshot {
  /** What the kernel has of this port, without what is on its way. */
  readonly elements: Elements
  /** Something of this port is still to be written. */
  readonly pending: boolean
  /** Why it could not be written. */
  readonly problem: Problem | undefined
}

/** Bounds the text of one transaction (about 1 MB) and the memory that nft takes for it. */
const maxElementsPerTransaction = 16_384
/** So many ports that cannot be written are no fault of theirs. */
const maxRefusalsAtOnce = 32

export class KernelTables {
  readonly #options: KernelOptions
  readonly #observer: KernelObserver
  readonly #families: readonly Family[]
  readonly #programs: KernelPrograms
  readonly #ports = new Map<string, PortRecord>()
  /** Ports that may differ from what the kernel has. */
  readonly #dirty = new Set<string>()
  readonly #overlay = new Overlay()
  readonly #worker: Worker
  readonly #staleFlows: StaleFlows
  #mirror = new Mirror()
  /** The fixed part and the routing are in place. */
  #isInstalled = false
  /** Somebody else changed something: all is written anew where it is not as it should be. */
  #isDamaged = false
  /** What the kernel shall have, and has, of this node itself. */
  #surroundings = unknownSurroundings
  #nodeElements: Elements
  #writtenNode: Elements = new Map()
  /** `written` of every port, and `#mirror`, are what the kernel has. */
  #isMirrored = false
  #isSynced = false
  #clearsOverlay = false
  #hasInherited = false
  #isReported = false
  #stopWatching: (() => void) | undefined

  constructor(
    options: KernelOptions,
    observer: KernelObserver = {},
    programs = systemPrograms(options, options.prefix),
  ) {
    this.#options = options
    this.#observer = observer
    this.#families = familiesOf(options.families)
    this.#programs = programs
    this.#nodeElements = planNode(unknownSurroundings, options)
    const job = {
      hasWork: () => this.#hasWork,
      step: () => this.#round(),
      failed: (error: unknown, failures: number) => this.#failed(error, failures),
    }
    this.#worker = new Worker(job, options.coalesceMs ?? 2)
    this.#staleFlows = new StaleFlows(
      async frontends => {
        const families = await programs.removeStaleUdp(frontends)
        observer.reconciled?.(families)
      },
      problems => observer.problems?.('conntrack', problems),
    )
  }

  /**
   * Makes what is missing of the tables and the routing, or replaces the fixed part of another version, and leaves the
   * elements alone. Resolves to the overlay entries of a previous run: they stay until `setOverlay` or
   * `dropInheritedOverlay` says otherwise. Where it fails it reports, resolves, and tries again on its own.
   */
  async start(): Promise<readonly VipPort[]> {
    this.#worker.schedule()
    this.#stopWatching = this.#watch()
    await this.#worker.attempted
    return this.#overlay.inherited
  }

  /** All ports that exist have been set: from now on the kernel has these and nothing else. */
  synced(): void {
    this.#isSynced = true
    this.#worker.schedule()
  }

  /** @param node undefined where it is not known (any more) */
  setNode(node: NodeFacts | undefined): void {
    if (JSON.stringify(node) === JSON.stringify(this.#surroundings.node)) return
    this.#change({ node })
    for (const [id, { state }] of this.#ports) if (state?.external?.sourceRanges.length) this.#touch(id)
  }

  setPort(state: PortState): void {
    const record = this.#ports.get(state.id) ?? { id: state.id, state, written: undefined, refusal: undefined }
    const before = record.state
    this.#ports.set(state.id, record)
    record.state = state
    this.#overlay.changeOwner(state.id, before, state)
    this.#touch(state.id)
  }

  removePort(id: string): void {
    const record = this.#ports.get(id)
    if (!record?.state) return
    this.#overlay.changeOwner(id, record.state, undefined)
    record.state = undefined
    this.#touch(id)
  }

  /** These VIP:ports shall go to Envoy, or no longer. One without a TCP port that has endpoints waits for that. */
  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const owner of this.#overlay.set(vipPorts, on)) this.#touch(owner)
  }

  /** Connections from these addresses, and no others, skip the overlay. */
  setKernelClients(addresses: readonly string[]): void {
    this.#change({ kernelClients: addresses })
  }

  /** Cluster IPs are given out of these ranges: what no Service has of them is dropped. */
  setServiceRanges(serviceRanges: readonly string[]): void {
    if (serviceRanges.join() !== this.#surroundings.serviceRanges.join()) this.#change({ serviceRanges })
  }

  /** Empties the overlay, in a transaction of its own that comes before all else: Envoy is gone. */
  clearOverlay(): void {
    this.#overlay.clear()
    this.#clearsOverlay = true
    this.#worker.schedule()
  }

  /** Overlay entries of a previous run that nobody has confirmed by `setOverlay` go. */
  dropInheritedOverlay(): void {
    this.setOverlay(this.#overlay.inherited, false)
  }

  /** Undefined for a port that is unknown. */
  snapshot(id: string): PortSnapshot | undefined {
    const record = this.#ports.get(id)
    if (!record) return undefined
    const pending = this.#dirty.has(id) || !this.#isMirrored
    return { elements: elementsOf(record, this.#options), pending, problem: record.refusal?.problem }
  }

  /** Elements in the kernel by `ip services` and the like. */
  get totals(): ReadonlyMap<string, number> {
    return this.#mirror.totals
  }

  /** Resolves when nothing is left to be written but what was refused and waits for its next try. */
  async settled(): Promise<void> {
    await this.#worker.settled()
    await this.#staleFlows.settled()
  }

  /** Stops writing. What the kernel has stays. */
  async close(): Promise<void> {
    const closed = Promise.all([this.#worker.close(), this.#staleFlows.close()])
    this.#stopWatching?.()
    for (const { refusal } of this.#ports.values()) clearTimeout(refusal?.timer)
    await closed
  }

  #change(surroundings: Partial<Surroundings>): void {
    this.#surroundings = { ...this.#surroundings, ...surroundings }
    this.#nodeElements = planNode(this.#surroundings, this.#options)
    this.#worker.schedule()
  }

  #touch(id: string): void {
    this.#dirty.add(id)
    this.#worker.schedule()
  }

  get #hasWork(): boolean {
    if (!this.#isInstalled || this.#isDamaged || this.#clearsOverlay) return true
    return this.#isSynced && (!this.#isMirrored || this.#dirty.size > 0 || this.#nodeElements !== this.#writtenNode)
  }

  async #round(): Promise<void> {
    const began = performance.now()
    const isFull = !this.#isMirrored
    try {
      await this.#step()
    } catch (error) {
      this.#tellRound(began, isFull, false)
      throw error
    }
    this.#report([])
    this.#tellRound(began, isFull, true)
  }

  #watch(): () => void {
    let turn = 0
    const presence = async () => {
      if (this.#isInstalled) {
        this.#suspect(await findMissingTable(this.#programs.nft, this.#families[turn++ % this.#families.length]!))
      }
    }
    const comparison = async () => {
      if (!this.#isMirrored) return
      for (const family of this.#families) await this.#programs.ensureRouting(family)
      this.#suspect(
        await findDamage(this.#programs.nft, this.#families, this.#options, this.#ports, () => ({
          written: this.#writtenNode,
          wanted: this.#nodeElements,
        })),
      )
    }
    const stops = [
      repeat(presence, this.#options.presenceMs ?? 1000, 0.1),
      repeat(comparison, this.#options.comparisonMs ?? 300e3, this.#options.comparisonShare ?? 0.01),
    ]
    return () => stops.forEach(stop => void stop())
  }

  #suspect(damage: string | undefined): void {
    // Where the worker knows already that something is wrong, it mends it.
    if (damage === undefined || !this.#isInstalled || this.#isDamaged) return
    this.#observer.damaged?.(damage)
    this.#isDamaged = true
    this.#worker.schedule()
  }

  #failed(error: unknown, failures: number): void {
    this.#isInstalled = false
    this.#isMirrored = false
    const problem = commandProblem('nftables', error, 'traffic flows as before; tried again')
    // The first failure is often a table that somebody else removed, which the next try mends.
    if (failures > 1 || !(error instanceof CommandError) || error.failure !== 'refused') this.#report([problem])
  }

  /** What came while it ran may be in it or not, unless nothing is left. */
  #tellRound(began: number, isFull: boolean, ok: boolean): void {
    if (!this.#isSynced) return
    const now = performance.now()
    this.#observer.round?.({ ok, isFull, upTo: this.#hasWork ? began : now, milliseconds: now - began })
  }

  #report(problems: readonly Problem[]): void {
    if (problems.length === 0 && !this.#isReported) return
    this.#isReported = problems.length > 0
    this.#observer.problems?.('kernel', problems)
  }

  async #step(): Promise<void> {
    if (!this.#isInstalled || this.#isDamaged) await this.#install()
    if (this.#clearsOverlay) await this.#clear()
    if (!this.#isSynced) return
    if (this.#isMirrored) await this.#writeDirty()
    else await this.#synchronise()
  }

  /** Tables of ours are known by their marker chain; where all have it, and nothing is wrong, nothing is written. */
  async #install(): Promise<void> {
    const isDamaged = this.#isDamaged
    if (isDamaged) this.#isMirrored = false
    const statements: string[] = []
    for (const family of this.#families) {
      const chains = await this.#programs.nft.chains(family)
      if (!isDamaged && chains.includes(markerFor(family, this.#options))) continue
      statements.push(renderReplacement(family, chains, this.#options))
    }
    if (statements.length > 0) await this.#programs.nft.apply(statements.join(''))
    for (const family of this.#families) await this.#programs.ensureRouting(family)
    if (!this.#hasInherited) await this.#inherit()
    this.#isInstalled = true
    this.#isDamaged = false
  }

  async #inherit(): Promise<void> {
    this.#hasInherited = true
    if (this.#clearsOverlay) return
    for (const family of this.#families) {
      await this.#programs.nft.listSet(family, 'envoy', {
        element: (_set, key) => this.#overlay.inherit(key),
      })
    }
  }

  async #clear(): Promise<void> {
    this.#clearsOverlay = false
    try {
      await this.#programs.nft.apply(this.#families.map(family => `flush set ${family} ${tableName} envoy\n`).join(''))
    } catch (error) {
      this.#clearsOverlay = true
      throw error
    }
    this.#mirror.forgetOverlay()
    for (const record of this.#ports.values()) forgetOverlay(record)
  }

  async #writeDirty(): Promise<void> {
    await this.#writeNode()
    const records = [...this.#dirty].map(id => this.#ports.get(id)!)
    const removedFirst = records.sort((a, b) => Number(a.state !== undefined) - Number(b.state !== undefined))
    const [trusted, refused] = [[] as PortRecord[], [] as PortRecord[]]
    for (const record of removedFirst) (record.refusal ? refused : trusted).push(record)
    for (const changes of this.#batches(trusted)) await this.#write(changes)
    for (const record of refused) {
      if (!(await this.#writeSplitting([this.#changeOf(record)], { left: 1 }))) await this.#checkInstalled()
    }
  }

  /** Before the ports: whoever is to stay in the kernel layer is known there before anything goes to Envoy. */
  async #writeNode(): Promise<void> {
    const wanted = this.#nodeElements
    const { transaction, commit } = this.#mirror.prepare([{ current: this.#writtenNode, wanted }])
    await this.#apply(transaction, [])
    commit()
    this.#writtenNode = wanted
  }

  async #checkInstalled(): Promise<void> {
    for (const family of this.#families) {
      const chains = await this.#programs.nft.chains(family)
      if (!chains.includes(markerFor(family, this.#options))) throw new Error(`table ${family} ${tableName} is gone`)
    }
  }

  /** Compares all that the kernel has with all that it shall have. */
  async #synchronise(): Promise<void> {
    const found = await Mirror.read(this.#programs.nft, this.#families)
    if (!found) throw new Error(`table ${tableName} is gone`)
    const { mirror, owned } = found
    this.#mirror = mirror
    for (const record of this.#ports.values()) record.written = this.#claim(record, owned)
    this.#writtenNode = owned.get(nodeOwner) ?? new Map()
    owned.delete(nodeOwner)
    await this.#writeNode()
    await this.#remove(mirror.prepareStale(owned, maxElementsPerTransaction))
    const refusals = { left: maxRefusalsAtOnce }
    for (const changes of this.#batches(this.#ports.values())) await this.#writeSplitting(changes, refusals)
    const hasRefused = [...this.#ports.values()].some(({ refusal }) => refusal)
    if (!hasRefused) await this.#remove(mirror.prepareLeftovers(owned, maxElementsPerTransaction))
    this.#isMirrored = true
  }

  async #remove(leftovers: Iterable<Prepared>): Promise<void> {
    for (const { transaction, commit } of leftovers) {
      await this.#apply(transaction, [])
      commit()
    }
  }

  /** Takes what the kernel has under the VIP:port of a port and under its places outside. */
  #claim({ state }: PortRecord, owned: OwnedElements): Elements | undefined {
    const keys = (state ? portKeys(state) : []).filter(key => owned.has(key))
    if (keys.length === 0) return undefined
    const elements = new Map(keys.flatMap(key => [...owned.get(key)!]))
    for (const key of keys) owned.delete(key)
    return elements
  }

  *#batches(records: Iterable<PortRecord>): Generator<PortChange[]> {
    let batch: PortChange[] = []
    let size = 0
    for (const record of records) {
      const change = this.#changeOf(record)
      batch.push(change)
      size += change.current.size + change.wanted.size
      if (size < maxElementsPerTransaction) continue
      yield batch
      batch = []
      size = 0
    }
    if (batch.length > 0) yield batch
  }

  /** From here on the port is dirty only by what comes later. */
  #changeOf(record: PortRecord): PortChange {
    this.#dirty.delete(record.id)
    const overlay = record.state !== undefined && this.#overlay.has(record.state)
    return changeOf(record, overlay, this.#surroundings.node, this.#options)
  }

  async #write(changes: readonly PortChange[]): Promise<void> {
    const { transaction, commit } = this.#mirror.prepare(changes)
    try {
      await this.#apply(transaction, changes)
    } catch (error) {
      for (const { record } of changes) this.#dirty.add(record.id)
      throw error
    }
    commit()
    for (const change of changes) {
      this.#written(change)
      if (change.state) this.#staleFlows.add(staleFrontends(change.before, change.state))
    }
    this.#observer.applied?.(changes.map(change => change.record.id))
  }

  #written({ record, state, placement }: PortChange): void {
    record.written = placement
    if (record.refusal) {
      clearTimeout(record.refusal.timer)
      record.refusal = undefined
      this.#observer.problems?.(`kernel ${record.id}`, [])
    }
    if (state === undefined && record.state === undefined) this.#ports.delete(record.id)
  }

  /** Writes what can be written; false when a port was refused. Rejects when it is not about the ports. */
  async #writeSplitting(changes: readonly PortChange[], refusals: { left: number }): Promise<boolean> {
    try {
      await this.#write(changes)
      return true
    } catch (error) {
      if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
      if (changes.length > 1) {
        const middle = Math.ceil(changes.length / 2)
        const first = await this.#writeSplitting(changes.slice(0, middle), refusals)
        return (await this.#writeSplitting(changes.slice(middle), refusals)) && first
      }
      if (refusals.left-- === 0) throw error
      this.#refuse(changes[0]!.record, error)
      return false
    }
  }

  #refuse(record: PortRecord, error: CommandError): void {
    const attempts = (record.refusal?.attempts ?? 0) + 1
    clearTimeout(record.refusal?.timer)
    const [namespace, name, ...port] = record.id.split('/')
    const remedy = `the kernel keeps what it has of port ${port.join('/')}, and it is tried again`
    const problem = commandProblem(`Service ${namespace}/${name}`, error, remedy)
    const timer = setTimeout(() => this.#touch(record.id), backoffMs(attempts) * 10).unref()
    record.refusal = { attempts, problem, timer }
    this.#dirty.delete(record.id)
    this.#observer.problems?.(`kernel ${record.id}`, [problem])
  }

  async #apply(transaction: Transaction, changes: readonly PortChange[]): Promise<void> {
    if (transaction.isEmpty) return
    const text = transaction.text()
    const start = performance.now()
    await this.#programs.nft.apply(text)
    this.#observer.flushed?.({
      ports: changes.map(change => change.record.id),
      added: transaction.additions,
      removed: transaction.removals,
      bytes: text.length,
      milliseconds: performance.now() - start,
    })
  }
}
