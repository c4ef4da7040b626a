/** Writes batches with ipset and iptables-restore, and counts the members that the sets have. */

import type { Family } from '../family.ts'
import type { KernelObserver } from '../layer.ts'
import { type Batch, batchOf, isOfOverlay, Members, renderBatch, sizesOf } from './batch.ts'
import { overlaySetNames, systemSetName } from './chains.ts'
import type { PortRules } from './ports.ts'
import type { IptablesPrograms } from './programs.ts'

export interface Step {
  readonly before: PortRules | undefined
  readonly after: PortRules | undefined
}

export class Writer {
  readonly #programs: IptablesPrograms
  readonly #families: readonly Family[]
  readonly #observer: KernelObserver
  #members = new Members()

  constructor(programs: IptablesPrograms, families: readonly Family[], observer: KernelObserver) {
    this.#programs = programs
    this.#families = families
    this.#observer = observer
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#members.totals
  }

  hasMember(member: string): boolean {
    return this.#members.has(member)
  }

  /** Forgets all members, before the kernel is read anew. */
  reset(): void {
    this.#members = new Members()
  }

  /** Counts members that the kernel has already. */
  adopt(members: readonly string[]): void {
    for (const member of members) this.#members.add(member)
  }

  /**
   * Writes one batch, and counts none of its members where it fails.
   * @param ports the ids of the ports that it writes
   */
  async write(steps: readonly Step[], ports: readonly string[]): Promise<void> {
    try {
      await this.apply(batchOf(steps, this.#members), ports)
    } catch (error) {
      const back = steps.map(({ before, after }) => ({ before: after, after: before }))
      batchOf(back, this.#members)
      throw error
    }
  }

  /** Writes a batch without counting its members. */
  async apply(batch: Batch, ports: readonly string[]): Promise<void> {
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

  async clearOverlay(): Promise<void> {
    const sets = this.#families.flatMap(family => overlaySetNames.map(set => systemSetName(family, set)))
    await this.#programs.restoreSets(sets.map(set => `flush ${set}\n`).join(''))
    this.#members.forget(isOfOverlay)
  }
}
