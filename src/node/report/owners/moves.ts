/**
 * Reports to owners of Services which ports were promoted or demoted, and why. What concerns the whole node is reported
 * on the node, once: that Envoy is down or up, or that many Services moved at the same time. A Service that is promoted
 * as before, after a start of the agent or of Envoy, is not reported.
 */

import type { Frontend } from '../../../envoy/resources/frontend.ts'
import type { IpFamily } from '../../../net/address.ts'
import type { Log } from '../../../observe/log.ts'
import { type Layer, portPartOf } from '../../../plan/ports/port.ts'
import type { Note } from '../../../services/note.ts'
import type { RedirectMove } from '../../lifecycle/redirectset.ts'

export interface LayerMovesOptions {
  readonly nodeName: string
  /** The frontend as planned now; undefined for one that is gone. */
  readonly frontendOf: (id: string) => Frontend | undefined
  /** Whether pods reach Envoy. If they do not, that is reported on the node. */
  readonly isReachable: (family: IpFamily) => boolean
  readonly log: Log
  /** How long moves are gathered, in milliseconds. */
  readonly gatherMs: number
}

/** Ports of one Service that moved together. */
interface Move {
  readonly service: string
  readonly up: boolean
  readonly why: string
  readonly ports: Set<string>
}

/** More Services at once have one cause, which is not theirs. */
const mostServices = 20
const mostExamples = 5

export class LayerMoves {
  readonly #options: LayerMovesOptions
  /** Ports whose owners believe that they go through Envoy. */
  readonly #expected = new Set<string>()
  /** Ports that wait until they are called. */
  readonly #waited = new Set<string>()
  readonly #gathered = new Map<string, Move>()
  #onNote: (note: Note) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  /** Undefined until Envoy is up for the first time. */
  #isDown: boolean | undefined

  constructor(options: LayerMovesOptions) {
    this.#options = options
  }

  /** Sets who gets a note of each move from now on. */
  tell(onNote: (note: Note) => void): void {
    this.#onNote = onNote
  }

  /** Takes the frontends that exist when the agent starts. */
  begin(frontends: Iterable<Frontend>): void {
    for (const { id, layer } of frontends) if (layer.wants === 'envoy') this.#expected.add(id)
  }

  /** Sets the layer that the port is now meant for, whether it was there or not; undefined for one that is gone. */
  wanted(id: string, layer: Layer | undefined): void {
    if (layer?.wants === 'envoy') return
    this.#expected.delete(id)
    if (waits(layer)) this.#waited.add(id)
    else this.#waited.delete(id)
  }

  /** New connections to these frontends go to Envoy from now on, or no longer. */
  moved(ids: readonly string[], move: RedirectMove): void {
    const up = move === 'promoted'
    for (const id of ids) {
      if (up && this.#expected.has(id)) continue
      const frontend = this.#options.frontendOf(id)
      if (!up && frontend?.layer.wants === 'envoy' && !this.#options.isReachable(frontend.family)) continue
      if (up) this.#expected.add(id)
      else this.#expected.delete(id)
      // Ports that move because they are called are reported on the node, once (use/usewatch.ts).
      const isByUse = up ? this.#waited.delete(id) : waits(frontend?.layer)
      if (frontend && !isByUse) this.#gather(frontend, move)
    }
  }

  /** Whether Envoy is connected and answers. That it is not yet, at the start, is not reported either. */
  envoy(up: boolean): void {
    const object = `Node ${this.#options.nodeName}`
    if (up && this.#isDown) {
      const message = 'Envoy is up again: what it has acknowledged goes through it'
      this.#send({ object, type: 'Normal', reason: 'EnvoyUp', message })
    } else if (!up && this.#isDown === false) {
      const message = 'Envoy is down or not connected: the kernel layer serves all Services'
      this.#send({ object, type: 'Warning', reason: 'EnvoyDown', message })
    }
    if (up || this.#isDown !== undefined) this.#isDown = !up
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #gather({ id, namespace, name, layer }: Frontend, move: RedirectMove): void {
    const up = move === 'promoted'
    const why = whyMoved(layer, move)
    const service = `Service ${namespace}/${name}`
    const key = `${service} ${up} ${why}`
    const port = portPartOf(id)
    const gathered = this.#gathered.get(key)
    if (gathered) gathered.ports.add(port)
    else this.#gathered.set(key, { service, up, why, ports: new Set([port]) })
    this.#timer ??= setTimeout(() => this.#tellGathered(), this.#options.gatherMs)
  }

  #tellGathered(): void {
    this.#timer = undefined
    const moves = [...this.#gathered.values()]
    this.#gathered.clear()
    for (const up of [true, false]) {
      const together = moves.filter(move => move.up === up)
      const services = new Set(together.map(({ service }) => service))
      if (services.size > mostServices) this.#send(this.#noteOfMany(services, up))
      else for (const move of together) this.#send(this.#noteOf(move))
    }
  }

  #noteOf({ service, up, why, ports }: Move): Note {
    const what = `Port${ports.size > 1 ? 's' : ''} ${[...ports].join(', ')}`
    const message = `${what} ${wordsFor(up)} on node ${this.#options.nodeName}: ${why}`
    return { object: service, type: 'Normal', reason: reasonFor(up), message }
  }

  #noteOfMany(services: ReadonlySet<string>, up: boolean): Note {
    const { nodeName } = this.#options
    const examples = [...services].slice(0, mostExamples).join(', ')
    const message = `${services.size} Services ${wordsFor(up)} at the same time: ${examples} and others`
    return { object: `Node ${nodeName}`, type: 'Normal', reason: reasonFor(up), message }
  }

  #send(note: Note): void {
    this.#options.log.info({ object: note.object, reason: note.reason }, note.message)
    this.#onNote(note)
  }
}

function waits(layer: Layer | undefined): boolean {
  return layer?.wants === 'kernel' && layer.waitsAs !== undefined
}

function whyMoved(layer: Layer, move: RedirectMove): string {
  if (move === 'promoted') return `${layer.reason}, and Envoy has acknowledged it`
  if (layer.wants === 'kernel') return layer.reason
  if (move === 'lost') return 'Envoy lacks a part of its configuration'
  return 'it was changed, and gets another listener in Envoy; it is promoted again when Envoy has acknowledged that'
}

function wordsFor(up: boolean): string {
  return up ? 'promoted to Envoy' : 'demoted to the kernel layer'
}

function reasonFor(up: boolean): string {
  return up ? 'EnvoyEnabled' : 'EnvoyDisabled'
}
