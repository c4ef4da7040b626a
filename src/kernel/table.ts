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

import type { ClientAddress } from '../services/clientaddress.ts'
import { type PortState, portPartOf, serviceKeyOf } from '../services/port.ts'
import { type CommandError, commandProblem } from './command.ts'
import { staleFrontends } from './conntrack.ts'
import { type Elements, type Family, nodeOwner, overlaySets } from './elements.ts'
import { findDamage, findMissingTable } from './inspection.ts'
import type { KernelLayer, KernelObserver, KernelOptions, PortSnapshot } from './layer.ts'
import { Mirror, type OwnedElements, type Prepared } from './mirror.ts'
import { type NodeFacts, planNode, type Surroundings, unknownSurroundings } from './node.ts'
import { Overlay, type VipPort } from './overlay.ts'
import { nothingSteered, portKeys } from './plan.ts'
import { type KernelPrograms, systemPrograms } from './programs.ts'
import { changeOf, elementsOf, forgetOverlay, type PortChange, type PortRecord } from './record.ts'
import { repeat } from './repeat.ts'
import { Rounds } from './rounds.ts'
import { familiesOf, markerFor, renderReplacement, tableName } from './ruleset.ts'
import { type Refusals, refusalsAtOnce, writeSplitting } from './splitting.ts'
import { StaleFlows } from './stale-flows.ts'
import { backoffMs } from './worker.ts'
import { Writer } from './writer.ts'

/** Bounds the text of one transaction (about 1 MB) and the memory that nft takes for it. */
const maxElementsPerTransaction = 16_384

export class KernelTables implements KernelLayer {
  #options: KernelOptions
  readonly #observer: KernelObserver
  readonly #families: readonly Family[]
  readonly #programs: KernelPrograms
  readonly #ports = new Map<string, PortRecord>()
  /** Ports that may differ from what the kernel has. */
  readonly #dirty = new Set<string>()
  readonly #overlay = new Overlay()
  readonly #writer: Writer
  readonly #rounds: Rounds
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
    this.#writer = new Writer(programs.nft, observer)
    this.#nodeElements = planNode(unknownSurroundings, options)
    const job = {
      hasWork: () => this.#hasWork,
      isFull: () => !this.#isMirrored,
      isSynced: () => this.#isSynced,
      step: () => this.#step(),
      failed: () => {
        this.#isInstalled = false
        this.#isMirrored = false
      },
    }
    this.#rounds = new Rounds('nftables', job, observer, options.coalesceMs)
    this.#staleFlows = new StaleFlows(frontends => programs.removeStaleUdp(frontends), observer)
  }

  async start(): Promise<readonly VipPort[]> {
    this.#rounds.schedule()
    this.#stopWatching = this.#watch()
    await this.#rounds.attempted
    return this.#overlay.inherited
  }

  synced(): void {
    this.#isSynced = true
    this.#rounds.schedule()
  }

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

  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const owner of this.#overlay.set(vipPorts, on)) this.#touch(owner)
  }

  setKernelClients(addresses: readonly string[]): void {
    this.#change({ kernelClients: addresses })
  }

  async setClientAddress(clientAddress: ClientAddress): Promise<void> {
    this.#options = { ...this.#options, clientAddress }
    this.#isInstalled = false
    this.#rounds.schedule()
    await this.#rounds.settled()
  }

  setServiceRanges(serviceRanges: readonly string[]): void {
    if (serviceRanges.join() !== this.#surroundings.serviceRanges.join()) this.#change({ serviceRanges })
  }

  clearOverlay(): void {
    this.#overlay.clear()
    this.#clearsOverlay = true
    this.#rounds.schedule()
  }

  dropInheritedOverlay(): void {
    this.setOverlay(this.#overlay.inherited, false)
  }

  snapshot(id: string): PortSnapshot | undefined {
    const record = this.#ports.get(id)
    if (!record) return undefined
    const pending = this.#dirty.has(id) || !this.#isMirrored
    return { elements: elementsOf(record, this.#options), pending, problem: record.refusal?.problem }
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#mirror.totals
  }

  async settled(): Promise<void> {
    await this.#rounds.settled()
    await this.#staleFlows.settled()
  }

  async close(): Promise<void> {
    const closed = Promise.all([this.#rounds.close(), this.#staleFlows.close()])
    this.#stopWatching?.()
    for (const { refusal } of this.#ports.values()) clearTimeout(refusal?.timer)
    await closed
    this.#programs.close()
  }

  #change(surroundings: Partial<Surroundings>): void {
    this.#surroundings = { ...this.#surroundings, ...surroundings }
    this.#nodeElements = planNode(this.#surroundings, this.#options)
    this.#rounds.schedule()
  }

  #touch(id: string): void {
    this.#dirty.add(id)
    this.#rounds.schedule()
  }

  get #hasWork(): boolean {
    if (!this.#isInstalled || this.#isDamaged || this.#clearsOverlay) return true
    return this.#isSynced && (!this.#isMirrored || this.#dirty.size > 0 || this.#nodeElements !== this.#writtenNode)
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
      const written = { node: () => this.#writtenNode, ports: this.#ports }
      this.#suspect(
        await this.#writer.reading(isTouched =>
          findDamage(this.#programs.nft, this.#families, this.#options, written, isTouched),
        ),
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
    this.#rounds.schedule()
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
    const options = this.#options
    const isDamaged = this.#isDamaged
    if (isDamaged) this.#isMirrored = false
    const statements: string[] = []
    for (const family of this.#families) {
      const chains = await this.#programs.nft.chains(family)
      if (!isDamaged && chains.includes(markerFor(family, options))) continue
      statements.push(renderReplacement(family, chains, options))
    }
    if (statements.length > 0) await this.#programs.nft.apply(statements.join(''))
    for (const family of this.#families) await this.#programs.ensureRouting(family)
    if (!this.#hasInherited) await this.#inherit()
    // Another choice may have come meanwhile.
    this.#isInstalled = options === this.#options
    this.#isDamaged = false
  }

  async #inherit(): Promise<void> {
    this.#hasInherited = true
    if (this.#clearsOverlay) return
    for (const family of this.#families) {
      for (const set of overlaySets) {
        await this.#programs.nft.listSet(family, set, { element: (_set, key) => this.#overlay.inherit(key) })
      }
    }
  }

  async #clear(): Promise<void> {
    this.#clearsOverlay = false
    try {
      await this.#writer.clearOverlay(this.#families)
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
      if (!(await this.#writeWhatCan([this.#changeOf(record)], { left: 1 }))) await this.#checkInstalled()
    }
  }

  /** Before the ports: whoever is to stay in the kernel layer is known there before anything goes to Envoy. */
  async #writeNode(): Promise<void> {
    const wanted = this.#nodeElements
    if (wanted === this.#writtenNode) return
    const { transaction, commit } = this.#mirror.prepare([{ current: this.#writtenNode, wanted }])
    await this.#writer.apply(transaction, [])
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
    const refusals = refusalsAtOnce()
    for (const changes of this.#batches(this.#ports.values())) await this.#writeWhatCan(changes, refusals)
    const hasRefused = [...this.#ports.values()].some(({ refusal }) => refusal)
    if (!hasRefused) await this.#remove(mirror.prepareLeftovers(owned, maxElementsPerTransaction))
    this.#isMirrored = true
  }

  async #remove(leftovers: Iterable<Prepared>): Promise<void> {
    for (const { transaction, commit } of leftovers) {
      await this.#writer.apply(transaction, [])
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
    const steered = record.state ? this.#overlay.of(record.state) : nothingSteered
    return changeOf(record, steered, this.#surroundings.node, this.#options)
  }

  async #write(changes: readonly PortChange[]): Promise<void> {
    const { transaction, commit } = this.#mirror.prepare(changes)
    try {
      await this.#writer.apply(
        transaction,
        changes.map(({ record }) => record.id),
      )
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

  /** False when a port was refused. */
  #writeWhatCan(changes: readonly PortChange[], refusals: Refusals): Promise<boolean> {
    const refuse = ({ record }: PortChange, error: CommandError) => this.#refuse(record, error)
    return writeSplitting(changes, refusals, part => this.#write(part), refuse)
  }

  #refuse(record: PortRecord, error: CommandError): void {
    const attempts = (record.refusal?.attempts ?? 0) + 1
    clearTimeout(record.refusal?.timer)
    const remedy = `the kernel keeps what it has of port ${portPartOf(record.id)}, and it is tried again`
    const problem = commandProblem(`Service ${serviceKeyOf(record.id)}`, error, remedy)
    const timer = setTimeout(() => this.#touch(record.id), backoffMs(attempts) * 10).unref()
    record.refusal = { attempts, problem, timer }
    this.#dirty.delete(record.id)
    this.#observer.problems?.(`kernel ${record.id}`, [problem])
  }
}
