/**
 * Reports to owners of Services which of their ports are meant for Envoy and yet stay in the kernel layer because of an
 * endpoint: Envoy may not connect to its address, or a policy selects its pod. A port that is demoted for that is
 * reported as a move (moves.ts).
 */

import type { Log } from '../../../observe/log.ts'
import { type PortState, portPartOf, serviceKeyOf } from '../../../plan/ports/port.ts'
import type { PortChange } from '../../../plan/update.ts'
import type { Note } from '../../../services/note.ts'

export interface StayingPortsOptions {
  readonly nodeName: string
  readonly stateOf: (id: string) => PortState | undefined
  readonly log: Log
  /** How long it has to last: a new pod's slice may come before the pod itself. Milliseconds. */
  readonly afterMs: number
}

/** More Services at once have one cause, which is not theirs. */
const mostServices = 20

export class StayingPorts {
  readonly #options: StayingPortsOptions
  readonly #waiting = new Set<string>()
  readonly #reported = new Set<string>()
  #onNote: (note: Note) => void = () => {}
  #timer: NodeJS.Timeout | undefined

  constructor(options: StayingPortsOptions) {
    this.#options = options
  }

  /** Sets who gets a note of each port that stays from now on. */
  tell(onNote: (note: Note) => void): void {
    this.#onNote = onNote
  }

  changed({ id, before, after }: PortChange): void {
    if (whyStaying(after) === undefined) {
      this.#waiting.delete(id)
      this.#reported.delete(id)
      return
    }
    if (before?.layer.wants === 'envoy') this.#reported.add(id)
    if (this.#reported.has(id)) return
    this.#waiting.add(id)
    this.#timer ??= setTimeout(() => this.#tellAll(), this.#options.afterMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #tellAll(): void {
    this.#timer = undefined
    const { nodeName, stateOf } = this.#options
    const byService = Map.groupBy(this.#waiting, serviceKeyOf)
    for (const id of this.#waiting) this.#reported.add(id)
    this.#waiting.clear()
    if (byService.size > mostServices) {
      const examples = [...byService.keys()].slice(0, 5).join(', ')
      const message = `${byService.size} Services have ports that stay in the kernel layer because of their endpoints: ${examples} and others`
      this.#send({ object: `Node ${nodeName}`, type: 'Normal', reason, message })
      return
    }
    for (const [service, ids] of byService) {
      for (const [why, together] of Map.groupBy(ids, id => whyStaying(stateOf(id)))) {
        if (why === undefined) continue
        const names = together.map(portPartOf).join(', ')
        const what = together.length > 1 ? `Ports ${names} stay` : `Port ${names} stays`
        const message = `${what} in the kernel layer: ${why}`
        this.#send({ object: `Service ${service}`, type: 'Normal', reason, message, once: 'cluster' })
      }
    }
  }

  #send(note: Note): void {
    this.#options.log.info({ object: note.object, reason: note.reason }, note.message)
    this.#onNote(note)
  }
}

const reason = 'StaysInKernel'

function whyStaying(state: PortState | undefined): string | undefined {
  return state?.layer.wants === 'kernel' && state.layer.isForEndpoint ? state.layer.reason : undefined
}
