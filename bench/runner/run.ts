/** Runs experiments one after the other: says what is to come and how far it is, keeps what is measured, and goes on where it was interrupted. */

import { table } from '../../src/commands/output/table.ts'
import { compare, summary } from './compare.ts'
import type { Experiment, Length, Run } from './experiment.ts'
import { isBusy, machine, type Versions } from './machine.ts'
import { Parts, type Result, readResult, type Turn, writeResult } from './results.ts'

export interface RunOptions {
  readonly length: Length
  readonly turn: Turn
  /** Leaves out what this commit has measured already. */
  readonly resume: boolean
  readonly versions: Versions
  /** Writes what is made of all results, after each; returns its file. */
  readonly report: () => Promise<string>
}

/** One that fails is tried once more, behind what is measured of it; then the others go on. Returns the names of those that failed. */
export async function runAll(experiments: readonly Experiment[], options: RunOptions): Promise<readonly string[]> {
  const isKept = (one: Experiment) => options.resume && isMeasured(readResult(one.name, options.turn), options)
  const left = experiments.filter(one => !isKept(one))
  const expected = new Map(left.map(one => [one, expectedSeconds(one, options.length)] as const))
  printPlan(experiments, expected)
  let later = sum(expected.values())
  const failed: string[] = []
  for (const [one, seconds] of expected) {
    later -= seconds
    const result = await tryTwice(one, options, new Progress(one.name, seconds, later))
    if (result === undefined) {
      failed.push(one.name)
      continue
    }
    print(result)
    console.log(`  → ${writeResult(result, options.turn)}`)
    console.log(`  → ${await options.report()}`)
    if (options.turn === 'again') printComparison(readResult(one.name), result)
  }
  return failed
}

async function tryTwice(one: Experiment, options: RunOptions, progress: Progress): Promise<Result | undefined> {
  for (const resume of [options.resume, true]) {
    try {
      return await runOne(one, { ...options, resume }, progress)
    } catch (error) {
      console.error(`${one.name} failed:`, error)
    }
  }
  return undefined
}

/** @param expected seconds of those that are not measured yet */
function printPlan(experiments: readonly Experiment[], expected: ReadonlyMap<Experiment, number>): void {
  const rows = experiments.map(one => {
    const seconds = expected.get(one)
    return [one.name, seconds === undefined ? 'measured' : time(seconds), one.title]
  })
  console.error(`${table(['', 'takes', ''], rows)}\nall: ${time(sum(expected.values()))}`)
}

function isMeasured(kept: Result | undefined, { length, versions }: RunOptions): boolean {
  return kept?.length === length && kept.versions.lightpath === versions.lightpath
}

async function runOne(one: Experiment, options: RunOptions, progress: Progress): Promise<Result> {
  const { length, turn, resume, versions } = options
  const parts = new Parts(one.name, `${turn} ${length} ${versions.lightpath}`)
  if (!resume) parts.clear()
  const where = await machine()
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
    console.error(`${this.#name}: ${what} (${Math.round(passed)} s; all done in about ${time(left)})`)
  }
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((all, value) => all + value, 0)
}

function time(seconds: number): string {
  return seconds < 120 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`
}

function print({ tables, machine: where }: Result): void {
  for (const { title, header, rows, notes } of tables) {
    console.log(`\n${title}\n${table(header, rows, '  ')}`)
    for (const note of notes) console.log(`  (${note})`)
  }
  if (isBusy(where))
    console.log(`The machine was busy (load ${where.load}): repeat this on a quiet one before you trust it.`)
}

function printComparison(first: Result | undefined, second: Result): void {
  if (first?.length !== second.length) {
    console.log(`There is no ${second.length} run of ${second.name} to compare it with.`)
    return
  }
  const rows = compare(first.tables, second.tables)
  const cells = rows.map(({ table, row, stated, outside, aims }) => [
    table,
    row,
    stated === 0 ? 'none stated' : `${stated - outside.length} of ${stated}`,
    [...outside.map(({ column, first, second }) => `${column}: ${first}, then ${second}`), ...aims.map(change)].join(
      '; ',
    ),
  ])
  console.log(`\nBeside the run of ${first.date.slice(0, 10)}: ${summary(rows)}`)
  console.log(table(['', '', 'within the spread', 'not as before'], cells, '  '))
}

function change({ first, second }: { readonly first: string; readonly second: string }): string {
  return `${first}, then ${second}`
}
