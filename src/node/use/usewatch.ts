/**
 * Promotes ports as this node calls them, and demotes those that it does not. The kernel reports which are called; it
 * is asked only while not all ports fit into Envoy's budget.
 */

import { type Repeated, repeat } from '../../kernel/sync/repeat.ts'
import type { Log } from '../../observe/log.ts'
import type { Calls, EnvoyBudget } from '../../plan/envoy/budget.ts'
import type { Note } from '../../services/note.ts'
import { BusyPorts, type ReadActivity } from './busyports.ts'

export interface UseWatchOptions {
  readonly nodeName: string
  readonly budget: EnvoyBudget
  /** How long ago each port was called, in milliseconds, by id. */
  readonly calls: () => Promise<ReadonlyMap<string, number>>
  /** Reads what goes on in Envoy at these ports. */
  readonly activity: ReadActivity
  /** These ports entered Envoy's budget, or left it. */
  readonly onMoved: (ids: readonly string[]) => void
  readonly log: Log
}

/** How soon after its first call a port is on its way to Envoy. */
const everyMs = 250
/** The share of the time for reading the calls: a node that calls thousands of ports reads less often. */
const share = 0.05

export class UseWatch {
  readonly #options: UseWatchOptions
  #onNote: (note: Note) => void = () => {}
  #task: Repeated | undefined
  #wasByUse = false
  readonly #busy: BusyPorts

  constructor(options: UseWatchOptions) {
    this.#options = options
    this.#busy = new BusyPorts(options.activity)
  }

  get isByUse(): boolean {
    return this.#options.budget.isByUse
  }

  /** How many ports are in the kernel layer until they are called. */
  get waiting(): number {
    return this.#options.budget.waiting
  }

  /** Sets who gets a note when not all ports fit any more, and when they do again. */
  tell(onNote: (note: Note) => void): void {
    this.#onNote = onNote
  }

  /** Ports that a previous run left in Envoy stay there. Returns the ports that came or went. */
  async begin(before: ReadonlySet<string>): Promise<readonly string[]> {
    return this.#options.budget.begin(await this.#calls(), before)
  }

  watch(): void {
    this.#task = repeat(() => this.#probe(), everyMs, share, true)
    this.#tellMode()
  }

  stop(): void {
    this.#task?.stop()
  }

  async #probe(): Promise<void> {
    const { budget, onMoved } = this.#options
    this.#tellMode()
    if (budget.waiting === 0 && !budget.isByUse) return
    const moved = budget.step(budget.isByUse ? await this.#uses() : new Map())
    if (moved.length > 0) onMoved(moved)
  }

  /** A connection that stays open calls once; what goes on there counts as well. */
  async #uses(): Promise<Calls> {
    const calls = new Map(await this.#calls())
    for (const [id, at] of await this.#busy.probe(this.#options.budget.inside, performance.now()))
      calls.set(id, Math.max(at, calls.get(id) ?? at))
    return calls
  }

  async #calls(): Promise<Calls> {
    const { budget, calls } = this.#options
    if (!budget.followsUse) return new Map()
    // If the kernel cannot be read, those who write to it report that.
    const ages = await calls().catch(() => new Map<string, number>())
    const now = performance.now()
    return new Map([...ages].map(([id, age]) => [id, now - age]))
  }

  #tellMode(): void {
    const { nodeName, budget, log } = this.#options
    if (budget.isByUse === this.#wasByUse) return
    this.#wasByUse = budget.isByUse
    const message = budget.isByUse
      ? `Not all Service ports fit into Envoy (--envoy-ports=${budget.limit}): those are there that this node has called most recently, and the kernel layer serves the others`
      : 'All Service ports that are for Envoy fit there again'
    const reason = budget.isByUse ? 'EnvoyByUse' : 'EnvoyTakesAll'
    log.info({ waiting: budget.waiting }, message)
    this.#onNote({ object: `Node ${nodeName}`, type: 'Normal', reason, message })
  }
}
