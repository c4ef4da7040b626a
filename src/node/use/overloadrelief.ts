/**
 * Keeps the ports that fill Envoy out of it for a while, once it was short of memory. While it is short, the kernel
 * layer serves everything (envoys.ts); without this the same clients would fill it again as soon as all ports are back.
 * Their owners get an Event.
 */

import type { Log } from '../../observe/log.ts'
import type { HeldBack } from '../../plan/envoy/heldback.ts'
import { portPartOf, serviceKeyOf } from '../../plan/ports/port.ts'
import type { Note } from '../../services/note.ts'
import { heaviest } from './heaviest.ts'

export interface OverloadReliefOptions {
  readonly nodeName: string
  readonly heldBack: HeldBack
  /** Counts Envoy's open connections, by the id of the Service port. */
  readonly connections: () => Promise<ReadonlyMap<string, number>>
  /** These ports are held back from now on, or no longer. */
  readonly onMoved: (ids: readonly string[]) => void
  readonly log: Log
  readonly holdMs: number
}

export class OverloadRelief {
  readonly #options: OverloadReliefOptions
  readonly #releases = new Set<NodeJS.Timeout>()
  #onNote: (note: Note) => void = () => {}

  constructor(options: OverloadReliefOptions) {
    this.#options = options
  }

  /** Sets who gets a note of each port that is held back. */
  tell(onNote: (note: Note) => void): void {
    this.#onNote = onNote
  }

  /** An Envoy is short of memory. */
  async relieve(): Promise<void> {
    const { connections, heldBack, log, onMoved } = this.#options
    let counts: ReadonlyMap<string, number>
    try {
      counts = await connections()
    } catch (error) {
      return log.warn({ reason: (error as Error).message }, 'it is not known which Service ports fill Envoy')
    }
    const ids = heaviest(counts)
    if (ids.length === 0) return
    heldBack.hold(ids)
    onMoved(ids)
    for (const id of ids) this.#say(id, counts.get(id)!)
    this.#releaseLater(ids)
  }

  stop(): void {
    for (const timer of this.#releases) clearTimeout(timer)
  }

  #say(id: string, count: number): void {
    const { holdMs, log, nodeName } = this.#options
    const message =
      `Envoy of node ${nodeName} is short of memory, and port ${portPartOf(id)} has most connections there (${count}): ` +
      `the kernel layer serves the port on that node for ${Math.round(holdMs / 60e3)} minutes`
    log.warn({ port: id, connections: count }, message)
    this.#onNote({ object: `Service ${serviceKeyOf(id)}`, type: 'Warning', reason: 'EnvoyOverloaded', message })
  }

  #releaseLater(ids: readonly string[]): void {
    const { heldBack, holdMs, onMoved } = this.#options
    const timer = setTimeout(() => {
      this.#releases.delete(timer)
      heldBack.release(ids)
      onMoved(ids)
    }, holdMs).unref()
    this.#releases.add(timer)
  }
}
