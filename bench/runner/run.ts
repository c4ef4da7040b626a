/** Runs experiments one after the other: says how far it is, keeps what is measured, and goes on where it was interrupted. */

import { table } from '../../src/commands/output/table.ts'
import type { Experiment, Length, Run } from './experiment.ts'
import { isBusy, machine, type Versions } from './machine.ts'
import { Parts, type Result, readResult, writeResult } from './results.ts'

export interface RunOptions {
  readonly length: Length
  /** Leaves out what this commit has measured already. */
  readonly resume: boolean
  readonly versions: Versions
}

export async function runAll(experiments: readonly Experiment[], options: RunOptions): Promise<void> {
  const expected = experiments.map(one => expectedSeconds(one, options.length))
  for (const [index, one] of experiments.entries()) {
    const later = expected.slice(index + 1).reduce((sum, seconds) => sum + seconds, 0)
    const kept = options.resume ? readResult(one.name) : undefined
    if (kept?.length === options.length && kept.versions.lightpath === options.versions.lightpath) {
      console.error(`${one.name}: measured on ${kept.date}, left out`)
      continue
    }
    const result = await runOne(one, options, new Progress(one.name, expected[index]!, later))
    print(result)
    console.log(`  → ${writeResult(result)}`)
  }
}

async function runOne(one: Experiment, options: RunOptions, progress: Progress): Promise<Result> {
  const { length, resume, versions } = options
  const parts = new Parts(one.name, `${length} ${versions.lightpath}`)
  if (!resume) parts.clear()
  const where = machine()
  const began = new Date()
  progress.tell('begins')
  const run: Run = {
    async step<T>(name: string, measure: () => Promise<T>): Promise<T> {
      if (!parts.has(name)) {
        progress.tell(name)
        parts.set(name, await measure())
      }
      return parts.get(name) as T
    },
  }
  const { tables, charts = [], data } = await one.measure(run, one.options[length])
  parts.clear()
  return {
    name: one.name,
    title: one.title,
    shows: one.shows,
    length,
    command: `bench/run --${length} ${one.name}`,
    date: began.toISOString(),
    seconds: Math.round((Date.now() - began.getTime()) / 1000),
    machine: where,
    versions,
    tables,
    charts,
    data,
  }
}

/** As long as the last time, or as the experiment says of itself. */
function expectedSeconds(one: Experiment, length: Length): number {
  const last = readResult(one.name)
  return last?.length === length ? last.seconds : one.minutes[length] * 60
}

/** A line for each step, with the time that is left of all. */
class Progress {
  readonly #name: string
  readonly #expected: number
  readonly #later: number
  readonly #began = Date.now()

  /** @param expected of this experiment, and `later` of all that follow, seconds */
  constructor(name: string, expected: number, later: number) {
    this.#name = name
    this.#expected = expected
    this.#later = later
  }

  tell(what: string): void {
    const passed = (Date.now() - this.#began) / 1000
    const left = Math.max(0, this.#expected - passed) + this.#later
    console.error(`${this.#name}: ${what} (${Math.round(passed)} s; all done in about ${Math.ceil(left / 60)} min)`)
  }
}

function print({ tables, machine: where }: Result): void {
  for (const { title, header, rows, notes } of tables) {
    console.log(`\n${title}\n${table(header, rows, '  ')}`)
    for (const note of notes) console.log(`  (${note})`)
  }
  if (isBusy(where))
    console.log(`The machine was busy (load ${where.load}): repeat this on a quiet one before you trust it.`)
}
