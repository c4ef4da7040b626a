/**
 * Finds http ports that speak something else, from what Envoys report of connections that do not begin as HTTP. A port
 * whose server speaks first goes to the kernel layer and stays there, also after a restart. One whose clients speak
 * something else stays in Envoy, which passes that on at once. The owner hears of both. A port that has answered a
 * request of HTTP is none of these.
 */

import { portIdOf } from '../../envoy/resources/frontend.ts'
import { serverFirst } from '../../envoy/resources/observations.ts'
import type { Log } from '../../observe/log.ts'
import { type MisnamedPorts, misnamedRemedy, saidOf } from '../../plan/envoy/misnamed.ts'
import { type PortState, portPartOf, serviceKeyOf } from '../../plan/ports/port.ts'
import type { PortChange } from '../../plan/update.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { writeMisnamed } from './memory.ts'

export interface MisnamedWatchOptions {
  readonly known: MisnamedPorts
  readonly stateOf: (id: string) => PortState | undefined
  /** Whether the port has answered a request of HTTP since Envoy knows it; undefined where Envoy does not answer. */
  readonly speaksHttp: (id: string) => Promise<boolean | undefined>
  /** These ports are misnamed from now on, or no longer. */
  readonly onMoved: (ids: readonly string[]) => void
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  /** Where to remember. */
  readonly directory: string
  readonly log: Log
}

/** So many connections of clients: one may be somebody's mistake. */
const fewest = 3
/** A port that has answered HTTP is left alone for so long; the problem of one ends after so long without such connections. */
const calmMs = 3600e3

interface Suspect {
  connections: number
  /** One of them was of a server that speaks first. */
  isServerFirst: boolean
  /** When the port may be asked about again, as `performance.now()` has it. */
  askAt: number
  /** Undefined until its owner has heard. */
  calm?: NodeJS.Timeout
}

export class MisnamedWatch {
  readonly #options: MisnamedWatchOptions
  readonly #suspects = new Map<string, Suspect>()
  #writing: NodeJS.Immediate | undefined

  constructor(options: MisnamedWatchOptions) {
    this.#options = options
  }

  /** A port had a connection on which this was spoken. @param frontend its id */
  async observed(frontend: string, spoke: string): Promise<void> {
    const { known, stateOf, speaksHttp } = this.#options
    const id = portIdOf(frontend)
    if (!stateOf(id) || known.saidOf(id) !== undefined) return
    const suspect = this.#suspect(id)
    suspect.connections++
    suspect.isServerFirst ||= spoke === serverFirst
    suspect.calm?.refresh()
    if (!suspect.isServerFirst && (suspect.calm || suspect.connections < fewest)) return
    if (performance.now() < suspect.askAt) return
    suspect.askAt = Infinity
    const speaks = await speaksHttp(id)
    suspect.askAt = performance.now() + (speaks ? calmMs : 0)
    const state = stateOf(id)
    // Its owner may have changed it meanwhile.
    const isStill = this.#suspects.get(id) === suspect && state?.layer.wants === 'envoy'
    if (speaks !== false || !isStill) return
    if (suspect.isServerFirst) this.#remember(state)
    else this.#reportClients(id, suspect, spoke)
  }

  /** Takes the ports that there are at the start. */
  begin(): void {
    const { known, stateOf } = this.#options
    for (const [id] of [...known.entries()]) this.#review(id, stateOf(id))
  }

  changed({ id, before, after }: PortChange): void {
    this.#review(id, after)
    if (!after || (before && said(before) !== said(after))) this.#forgive(id)
  }

  stop(): void {
    for (const { calm } of this.#suspects.values()) clearTimeout(calm)
    if (this.#writing) this.#write()
  }

  #review(id: string, state: PortState | undefined): void {
    const { known } = this.#options
    if (state && known.saidOf(id) === said(state)) this.#report(id, serverFirstProblem(id))
    else if (known.remove(id)) {
      this.#report(id)
      this.#writeSoon()
    }
  }

  #suspect(id: string): Suspect {
    const suspect = this.#suspects.get(id) ?? { connections: 0, isServerFirst: false, askAt: 0 }
    this.#suspects.set(id, suspect)
    return suspect
  }

  #remember(state: PortState): void {
    const { id } = state
    const { known, onMoved, log } = this.#options
    this.#forgive(id)
    if (!known.add(id, said(state))) return
    log.info({ port: id }, 'the server of a port that is named http speaks first: the kernel layer serves it')
    this.#report(id, serverFirstProblem(id))
    this.#writeSoon()
    onMoved([id])
  }

  #reportClients(id: string, suspect: Suspect, spoke: string): void {
    this.#report(id, clientsProblem(id, spoke))
    suspect.calm = setTimeout(() => this.#forgive(id), calmMs).unref()
  }

  #forgive(id: string): void {
    const suspect = this.#suspects.get(id)
    if (!suspect) return
    clearTimeout(suspect.calm)
    this.#suspects.delete(id)
    if (suspect.calm) this.#report(id)
  }

  #report(id: string, ...problems: readonly Problem[]): void {
    this.#options.onProblems(`misnamed ${id}`, problems)
  }

  /** Once for all ports of a turn. */
  #writeSoon(): void {
    this.#writing ??= setImmediate(() => this.#write())
  }

  #write(): void {
    clearImmediate(this.#writing)
    this.#writing = undefined
    const { known, directory, log } = this.#options
    try {
      writeMisnamed(directory, [...known.entries()])
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'a restart will not know which ports are misnamed')
    }
  }
}

function said({ port, settings }: PortState): string {
  return saidOf(port, settings)
}

function serverFirstProblem(id: string): Problem {
  const reason = `port ${portPartOf(id)} is named as HTTP, and its server speaks first, which is no HTTP`
  return problem('LP206', `Service ${serviceKeyOf(id)}`, reason, `the kernel layer serves it; ${misnamedRemedy}`)
}

function clientsProblem(id: string, spoke: string): Problem {
  const what = spoke === 'TLS' ? 'TLS' : 'something else'
  const reason = `port ${portPartOf(id)} is named as HTTP, and all that its clients speak is ${what}`
  const name = spoke === 'TLS' ? 'name the port https' : 'give the port another name or appProtocol'
  const remedy = `Envoy passes it on as TCP, connection by connection; ${name}, or set overlay: false or protocol: tcp`
  return problem('LP206', `Service ${serviceKeyOf(id)}`, reason, remedy)
}
