/**
 * Keeps the ports that fill Envoy out of it for a while, once it was short of memory or of room for connections. While
 * it is short, the kernel layer serves everything (envoy/envoys.ts); without this the same clients would fill it again
 * as soon as all ports are back. Their owners get an Event.
 */

import type { Log } from '../../observe/log.ts'
import type { HeldBack, Shortage } from '../../plan/envoy/heldback.ts'
import { portPartOf, serviceKeyOf } from '../../plan/ports/port.ts'
import type { Note } from '../../services/note.ts'
import { type EnvoyConnections, heaviest } from './heaviest.ts'

/** Ports that have a smaller part of the connections together are not why there is no room for more. */
const guilty = 0.25

export interface OverloadReliefOptions {
  readonly nodeName: string
  readonly heldBack: HeldBack
  readonly connections: () => Promise<EnvoyConnections>
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

  /** An Envoy is overloaded. */
  async relieve(shortage: Shortage): Promise<void> {
    const { connections, log } = this.#options
    try {
      this.hold(await connections(), shortage)
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'it is not known which Service ports fill Envoy')
    }
  }

  /** Holds back the ports that have most of these connections. */
  hold({ byPort, total }: EnvoyConnections, shortage: Shortage): void {
    const { heldBack, onMoved } = this.#options
    const others = new Map([...byPort].filter(([id]) => !heldBack.has(id)))
    const count = [...others.values()].reduce((sum, each) => sum + each, 0)
    // Ports that are held back already fill it then, and their connections end slowly.
    if (shortage === 'room for connections' && count < total * guilty) return
    const ids = heaviest(others)
    if (ids.length === 0) return
    heldBack.hold(ids, shortage)
    onMoved(ids)
    for (const id of ids) this.#say(id, byPort.get(id)!, shortage)
    this.#releaseLater(ids)
  }

  stop(): void {
    for (const timer of this.#releases) clearTimeout(timer)
  }

  #say(id: string, count: number, shortage: Shortage): void {
    const { holdMs, log, nodeName } = this.#options
    const message =
      `Envoy of node ${nodeName} is short of ${shortage}, and port ${portPartOf(id)} has most connections there (${count}): ` +
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
