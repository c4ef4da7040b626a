/**
 * The Service ports of the iptables layer: the desired and the written state of each, and which could not be written. A
 * port that the kernel refuses keeps what it has and is reported; the others are written without it.
 */

import { type PortState, serviceKeyOf } from '../../plan/ports/port.ts'
import type { Problem } from '../../services/problem.ts'
import type { Family } from '../family.ts'
import type { KernelObserver } from '../layer.ts'
import { PortRecords } from '../sync/portrecords.ts'
import { rejectionsAtOnce, writeSplitting } from '../sync/splitting.ts'
import { type CommandError, commandProblem } from '../system/command.ts'
import type { Batch } from './batch.ts'
import type { PortRules } from './ports.ts'
import type { SavedPortChain } from './saved.ts'
import type { Writer } from './writer.ts'
import { adopt, isOurs, type Written, withoutOverlay } from './written.ts'

export interface PortRecord {
  readonly id: string
  /** The desired state; undefined: nothing any more. */
  state: PortState | undefined
  /** The written state. */
  written: Written | undefined
  /** Why it could not be written. */
  problem: Problem | undefined
}

interface PortChange {
  readonly record: PortRecord
  readonly wanted: Written | undefined
}

export type SavedChains = ReadonlyMap<Family, ReadonlyMap<string, SavedPortChain>>

/** What the ports need from their layer. */
export interface PortsContext {
  readonly families: readonly Family[]
  /** Plans what the port shall have; undefined where its family is not served. */
  rulesOf(state: PortState): PortRules | undefined
  /** The kernel now has a port as in `after`; before, as far as is known, it had `before`. */
  written(before: PortState | undefined, after: PortState): void
  /** Asks for a sync. */
  schedule(): void
}

export class ServicePorts extends PortRecords<PortRecord> {
  readonly #writer: Writer
  readonly #observer: KernelObserver
  readonly #context: PortsContext

  constructor(writer: Writer, observer: KernelObserver, context: PortsContext) {
    super()
    this.#writer = writer
    this.#observer = observer
    this.#context = context
  }

  protected override begin(state: PortState): PortRecord {
    return { id: state.id, state, written: undefined, problem: undefined }
  }

  protected override touched(): void {
    this.#context.schedule()
  }

  /** Forgets the overlay, which was emptied by other means. */
  forgetOverlay(): void {
    for (const record of this.records.values()) if (record.written) record.written = withoutOverlay(record.written)
  }

  async writeDirty(): Promise<void> {
    if (this.dirty.size > 0) await this.#write([...this.dirty].map(id => this.#changeOf(this.records.get(id)!)))
  }

  /**
   * Adopts what is there and right, writes what is missing, and removes what belongs to no port.
   * @param members the members that the kernel's sets have
   * @param chains the chains of ports that the kernel has
   */
  async synchronise(members: ReadonlySet<string>, chains: SavedChains): Promise<void> {
    for (const record of this.records.values()) {
      const { wanted } = this.#changeOf(record)
      record.written = wanted && adopt(wanted, members, chains.get(wanted.rules.family)!)
      this.#writer.adopt(record.written?.rules.members ?? [])
    }
    const changes = [...this.records.values()].map(record => this.#changeOf(record))
    const wanted = new Set(changes.map(change => change.wanted?.rules.chain?.name))
    // A chain that somebody else changed has to be removed before it can be made anew.
    await this.#writer.apply(
      this.#unused(chains, name => wanted.has(name)),
      [],
    )
    const refuse = ({ record }: PortChange, error: CommandError) => this.#refuse(record, error)
    await writeSplitting(changes, rejectionsAtOnce(), part => this.#write(part), refuse)
    const { families } = this.#context
    const oldMembers = [...members].filter(member => isOurs(member, families) && !this.#writer.hasMember(member))
    await this.#writer.apply({ ...this.#unused(chains, name => !wanted.has(name)), oldMembers }, [])
  }

  /** Returns the batch that removes those chains in the kernel that no port has. */
  #unused(chains: SavedChains, isMeant: (name: string) => boolean): Batch {
    const used = new Set([...this.records.values()].map(({ written }) => written?.rules.chain?.name))
    const removed = [...chains].map(([family, there]) => {
      const names = [...there.keys()].filter(name => !used.has(name) && isMeant(name))
      return [family, names.map(name => ({ name, dispatch: there.get(name)!.dispatch }))] as const
    })
    return { newMembers: [], oldMembers: [], added: new Map(), removed: new Map(removed) }
  }

  /** Computes the change that the port needs now; only later changes make it dirty again. */
  #changeOf(record: PortRecord): PortChange {
    this.dirty.delete(record.id)
    const { state } = record
    const rules = state && this.#context.rulesOf(state)
    return { record, wanted: rules && { state, rules } }
  }

  async #write(changes: readonly PortChange[]): Promise<void> {
    const steps = changes.map(({ record, wanted }) => ({ before: record.written?.rules, after: wanted?.rules }))
    const ids = changes.map(({ record }) => record.id)
    await this.#writer.write(steps, ids)
    for (const change of changes) this.#written(change)
    this.#observer.applied?.(ids.filter(id => !this.dirty.has(id)))
  }

  #written({ record, wanted }: PortChange): void {
    if (wanted?.state) this.#context.written(record.written?.state, wanted.state)
    record.written = wanted
    if (record.problem) {
      record.problem = undefined
      this.#observer.problems?.(`kernel ${record.id}`, [])
    }
    if (!wanted && !record.state) this.records.delete(record.id)
  }

  #refuse(record: PortRecord, error: CommandError): void {
    const remedy = 'the kernel keeps what it has of this port, and it is tried again when the port changes'
    record.problem = commandProblem(`Service ${serviceKeyOf(record.id)}`, error, remedy)
    this.#observer.problems?.(`kernel ${record.id}`, [record.problem])
  }
}
