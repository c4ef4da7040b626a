/**
 * The Service ports of the nftables layer: the desired and the written state of each, and which could not be written.
 *
 * The kernel says which element of a transaction it refuses: the port that owns it keeps what it has, is reported, and
 * is tried again; the others are written without it (leavingout.ts).
 */

import { setImmediate as turn } from 'node:timers/promises'
import { type PortState, portPartOf, serviceKeyOf } from '../../../../plan/ports/port.ts'
import { isTurnOver, nextTurn } from '../../../../worker/turns.ts'
import type { KernelObserver } from '../../../layer.ts'
import { PortRecords } from '../../../sync/portrecords.ts'
import { rejectionsAtOnce } from '../../../sync/splitting.ts'
import { backoffMs } from '../../../sync/worker.ts'
import { type CommandError, commandProblem } from '../../../system/command.ts'
import type { Bytes } from '../../bytes.ts'
import type { ElementSink, Elements } from '../../elements/elements.ts'
import { type Placement, portKeys } from '../../elements/plan.ts'
import { byOwner, type FoundElements, type OwnedElements } from '../transaction/tablecache.ts'
import { maxElementsPerTransaction, type Writer } from '../transaction/writer.ts'
import { Claim } from './claim.ts'
import { keysWritten, lanesOf, weightOf } from './lanes.ts'
import { type PortWriter, writeTrusted, writeWhatCan } from './leavingout.ts'
import { forgetOverlay, noElements, type PortChange, type PortRecord } from './record.ts'

/** A batch ends with the port that takes its weight (lanes.ts) this far: of many elements few may be different. */
const mostWeighed = 16 * maxElementsPerTransaction

/** What the ports need from their layer. */
export interface PortsContext {
  changeOf(record: PortRecord): PortChange
  /** Plans into `elements` what the port shall have, where nothing is known of what it has. */
  plan(elements: ElementSink, record: PortRecord): Placement | undefined
  /** The elements of the port that the kernel has. */
  elementsOf(record: PortRecord): Elements
  /** The kernel has these changes now. */
  written(changes: readonly PortChange[]): void
  /** Asks for a sync, since this port is dirty. */
  schedule(record: PortRecord): void
}

export class Ports extends PortRecords<PortRecord> {
  readonly #writer: Writer
  readonly #observer: KernelObserver
  readonly #context: PortsContext
  /** Dirty ports that came after the order of writing was last decided. */
  readonly #fresh = new Set<string>()
  readonly #portWriter: PortWriter = {
    write: changes => this.#write(changes),
    refuse: (record, error) => this.#refuse(record, error),
  }

  constructor(writer: Writer, observer: KernelObserver, context: PortsContext) {
    super()
    this.#writer = writer
    this.#observer = observer
    this.#context = context
  }

  protected override begin(state: PortState): PortRecord {
    return { id: state.id, state, written: undefined, refusal: undefined }
  }

  protected override touched(id: string): void {
    this.#fresh.add(id)
    this.#context.schedule(this.records.get(id)!)
  }

  /**
   * Finds the elements of each port among those that the kernel has: most ports have exactly what is desired. Returns
   * the ports to write, and the elements that belong to no port.
   */
  async claim(found: FoundElements): Promise<{ readonly unlike: Iterable<PortRecord>; readonly owned: OwnedElements }> {
    const unlike = await this.#adopt(found)
    const owned = byOwner(found)
    for (const record of owned.size > 0 ? this.records.values() : []) {
      if (isTurnOver()) await nextTurn()
      const keys = (record.state ? portKeys(record.state) : []).filter(key => owned.has(key))
      if (keys.length === 0) continue
      // With the elements that it has beyond the desired ones.
      record.written = new Map([record, ...keys].flatMap(part => [...this.#heldAs(part, owned)]))
      for (const key of keys) owned.delete(key)
      unlike.add(record)
    }
    return { unlike, owned }
  }

  #heldAs(part: PortRecord | Bytes, owned: OwnedElements): Elements {
    return typeof part === 'string' ? owned.get(part)! : this.#context.elementsOf(part)
  }

  /** Adopts ports of which the kernel has all that is desired: they need no transaction, and leave what was found. */
  async #adopt(found: FoundElements): Promise<Set<PortRecord>> {
    const unlike = new Set<PortRecord>()
    const claim = new Claim(found)
    const isEmpty = found.size === 0
    let alike: PortChange[] = []
    for (const record of this.records.values()) {
      record.written = undefined
      const change = isEmpty ? undefined : this.#claimedBy(claim, record)
      if (change) alike.push(change)
      else unlike.add(record)
      if (!isTurnOver()) continue
      this.#settle(alike)
      alike = []
      await nextTurn()
    }
    this.#settle(alike)
    return unlike
  }

  /** Returns the change that adopts the port; undefined where the kernel lacks a part of it. */
  #claimedBy(claim: Claim, record: PortRecord): PortChange | undefined {
    claim.begin()
    const placement = this.#context.plan(claim, record)
    if (placement === undefined || !claim.isWhole) return undefined
    this.dirty.delete(record.id)
    this.#writer.adopt(claim.take())
    return { record, state: record.state, placement, before: undefined, current: noElements, wanted: noElements }
  }

  /** Forgets the overlay, which was emptied by other means. */
  forgetOverlay(): void {
    for (const record of this.records.values()) forgetOverlay(record)
  }

  /** Writes these ports; false where one was refused. */
  async writeAll(records: Iterable<PortRecord>): Promise<boolean> {
    const rejections = rejectionsAtOnce()
    let areWritten = true
    for (const changes of this.#batches(records)) {
      await turn()
      areWritten = (await writeWhatCan(changes, rejections, this.#portWriter)) && areWritten
    }
    return areWritten
  }

  /**
   * Writes dirty ports: Services with little to write before those with much, also those that change meanwhile. False
   * where a port was refused. Rejects on drift.
   */
  async writeDirty(): Promise<boolean> {
    const { small, large, refused } = lanesOf(this.#take(this.dirty))
    const rejections = rejectionsAtOnce()
    let areWritten = true
    let given: ReadonlySet<Bytes> | undefined
    const write = async (changes: readonly PortChange[]) => {
      areWritten = (await writeTrusted(changes, rejections, this.#portWriter)) && areWritten
    }
    for (const changes of this.#batches(small)) await write(changes)
    for (const changes of this.#batches(this.#stillDirty(large))) {
      await write(changes)
      if (this.#fresh.size === 0) continue
      given ??= keysWritten(large)
      for (const overtaking of this.#batches(lanesOf(this.#take(this.#fresh), given).small)) await write(overtaking)
    }
    for (const record of refused) {
      areWritten = (await writeWhatCan([this.#changeOf(record)], { left: 1 }, this.#portWriter)) && areWritten
    }
    return areWritten
  }

  /** Returns the records to write; ports touched from now on are fresh. */
  #take(ids: ReadonlySet<string>): readonly PortRecord[] {
    const records = [...ids].filter(id => this.dirty.has(id)).map(id => this.records.get(id)!)
    this.#fresh.clear()
    return records
  }

  *#stillDirty(records: readonly PortRecord[]): Generator<PortRecord> {
    for (const record of records) if (this.dirty.has(record.id) && this.records.get(record.id) === record) yield record
  }

  /** Cancels all further tries. */
  close(): void {
    for (const { refusal } of this.records.values()) clearTimeout(refusal?.timer)
  }

  *#batches(records: Iterable<PortRecord>): Generator<PortChange[]> {
    let batch: PortChange[] = []
    let [size, weighed] = [0, 0]
    for (const record of records) {
      weighed += weightOf(record)
      const change = this.#changeOf(record)
      batch.push(change)
      size += change.current.size + change.wanted.size
      if (size < maxElementsPerTransaction && weighed < mostWeighed) continue
      yield batch
      batch = []
      size = 0
      weighed = 0
    }
    if (batch.length > 0) yield batch
  }

  /** Computes the change that the port needs now; only later changes make it dirty again. */
  #changeOf(record: PortRecord): PortChange {
    this.dirty.delete(record.id)
    return this.#context.changeOf(record)
  }

  async #write(changes: readonly PortChange[]): Promise<void> {
    const ids = changes.map(({ record }) => record.id)
    try {
      await this.#writer.write(changes, ids)
    } catch (error) {
      for (const id of ids) this.dirty.add(id)
      throw error
    }
    this.#settle(changes)
  }

  /** Records that the kernel has these ports as desired. */
  #settle(changes: readonly PortChange[]): void {
    for (const change of changes) this.#written(change)
    this.#context.written(changes)
    this.#observer.applied?.(changes.map(({ record }) => record.id).filter(id => !this.dirty.has(id)))
  }

  #written({ record, state, placement }: PortChange): void {
    record.written = placement
    if (record.refusal) {
      clearTimeout(record.refusal.timer)
      record.refusal = undefined
      this.#observer.problems?.(`kernel ${record.id}`, [])
    }
    if (state !== undefined || record.state !== undefined) return
    this.records.delete(record.id)
    // It is dirty where it was to be written with others that were refused.
    this.dirty.delete(record.id)
  }

  #refuse(record: PortRecord, error: CommandError): void {
    const attempts = (record.refusal?.attempts ?? 0) + 1
    clearTimeout(record.refusal?.timer)
    const remedy = `the kernel keeps what it has of port ${portPartOf(record.id)}, and it is tried again`
    const problem = commandProblem(`Service ${serviceKeyOf(record.id)}`, error, remedy)
    const timer = setTimeout(() => this.touch(record.id), backoffMs(attempts) * 10).unref()
    record.refusal = { attempts, problem, timer }
    this.dirty.delete(record.id)
    this.#observer.problems?.(`kernel ${record.id}`, [problem])
  }
}
