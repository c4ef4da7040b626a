/** Holds the streams by which nodes tell what they see of endpoints, and hear what is excluded. */

import { changesBetween, type Exclusion, nameOf } from '../../exclusions/exclusion.ts'
import { encodeVerdict, readReport } from '../../facts/failures.ts'
import type { Log } from '../../observe/log.ts'
import { show } from '../../text/raw.ts'
import type { Call } from '../admission.ts'
import type { Failures } from './failures.ts'

/** Reports that come within this time are judged together. */
const gatherMs = 50

export type ExclusionsChanged = (begun: readonly Exclusion[], ended: readonly Exclusion[]) => void

export class Exchange {
  readonly #failures: Failures
  readonly #log: Log
  readonly #onChange: ExclusionsChanged
  /** By node: of two streams of a node the later one counts. */
  readonly #streams = new Map<string, Call>()
  #gathering: NodeJS.Timeout | undefined
  #asking: NodeJS.Timeout | undefined

  /** @param onChange hears what is excluded from now on, and what no longer is */
  constructor(failures: Failures, log: Log, onChange: ExclusionsChanged) {
    this.#failures = failures
    this.#log = log
    this.#onChange = onChange
  }

  /**
   * @param node that the token is bound to; undefined where agents show none
   * @param refuse ends the call
   */
  serve(call: Call, node: string | undefined, refuse: (reason: string) => void): void {
    let name: string | undefined
    call.on('data', (bytes: Uint8Array) => {
      try {
        const report = readReport(bytes)
        if (report.node === '' || (node !== undefined && report.node !== node) || report.node !== (name ?? report.node))
          throw new Error(`${show(report.node)} is not the node of this stream`)
        name = report.node
        if (this.#streams.get(name) !== call) this.#take(name, call)
        this.#failures.report(report, performance.now())
        this.#gathering ??= setTimeout(() => this.#review(), gatherMs)
      } catch (error) {
        refuse((error as Error).message)
      }
    })
    call.on('end', () => call.end())
    for (const event of ['cancelled', 'error', 'close']) {
      call.on(event, () => {
        if (name !== undefined && this.#streams.get(name) === call) this.#leave(name)
      })
    }
  }

  stop(): void {
    clearTimeout(this.#gathering)
    clearTimeout(this.#asking)
    for (const call of this.#streams.values()) call.end()
  }

  #take(node: string, call: Call): void {
    this.#streams.get(node)?.end()
    this.#streams.set(node, call)
    this.#tell(node, call)
  }

  #leave(node: string): void {
    this.#streams.delete(node)
    this.#failures.left(node)
    this.#gathering ??= setTimeout(() => this.#review(), gatherMs)
  }

  #review(): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    const before = this.#failures.exclusions
    if (this.#failures.review(performance.now(), Date.now())) this.#tellAll()
    const { begun, ended } = changesBetween(before, this.#failures.exclusions)
    for (const one of begun) this.#log.warn({ ...one }, `${one.of} excluded`)
    for (const one of ended) this.#log.info({ what: nameOf(one), by: one.by }, 'no longer excluded')
    if (begun.length > 0 || ended.length > 0) this.#onChange(begun, ended)
    if (this.#failures.isInQuestion) this.#asking ??= setTimeout(() => this.#askAgain(), this.#failures.times.askMs)
  }

  #askAgain(): void {
    this.#asking = undefined
    this.#tellAll()
    this.#review()
  }

  #tellAll(): void {
    for (const [node, call] of this.#streams) this.#tell(node, call)
  }

  /** Who reads slowly gets the next one. It counts as silent meanwhile. */
  #tell(node: string, call: Call): void {
    const verdict = encodeVerdict(this.#failures.verdictFor(node, performance.now()))
    if (!call.writableNeedDrain) call.write(verdict)
  }
}
