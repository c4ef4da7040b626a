/** What a run leaves: one file of JSON for each experiment, in one format. */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Chart } from './chart.ts'
import type { Length, Table } from './experiment.ts'
import type { Machine, Versions } from './machine.ts'

export interface Result {
  readonly name: string
  readonly title: string
  readonly shows: string
  readonly length: Length
  /** What repeats it. */
  readonly command: string
  /** When it began, as ISO 8601 has it. */
  readonly date: string
  readonly seconds: number
  readonly machine: Machine
  readonly versions: Versions
  readonly tables: readonly Table[]
  readonly charts: readonly Chart[]
  readonly data: object
}

const directory = join(import.meta.dirname, '../results')

/** The run that the report shows, or a second one, which is only compared with it. */
export type Turn = 'first' | 'again'
const directories: Readonly<Record<Turn, string>> = { first: directory, again: join(directory, 'again') }

export function writeResult(result: Result, turn: Turn): string {
  mkdirSync(directories[turn], { recursive: true })
  const file = join(directories[turn], `${result.name}.json`)
  writeWhole(file, `{\n${Object.entries(result).map(line).join(',\n')}\n}\n`)
  return file
}

export function readResult(name: string, turn: Turn = 'first'): Result | undefined {
  const file = join(directories[turn], `${name}.json`)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Result) : undefined
}

/** In the order of their names. */
export function readResults(): readonly Result[] {
  if (!existsSync(directory)) return []
  const files = readdirSync(directory).filter(file => /^[a-z0-9-]+\.json$/.test(file))
  return files.sort().map(file => JSON.parse(readFileSync(join(directory, file), 'utf8')) as Result)
}

/** The parts of an experiment that are measured already, by name. */
export class Parts {
  readonly #file: string
  readonly #key: string
  readonly #parts: Map<string, unknown>

  /** @param key of the run that they belong to: its length and what was measured */
  constructor(name: string, key: string) {
    this.#file = join(directory, `.${name}.parts.json`)
    const kept = existsSync(this.#file) ? JSON.parse(readFileSync(this.#file, 'utf8')) : {}
    this.#key = key
    this.#parts = new Map(kept.key === key ? Object.entries(kept.parts) : [])
  }

  has(part: string): boolean {
    return this.#parts.has(part)
  }

  get(part: string): unknown {
    return this.#parts.get(part)
  }

  set(part: string, value: unknown): void {
    this.#parts.set(part, value)
    this.#write()
  }

  clear(): void {
    this.#parts.clear()
    this.#write()
  }

  #write(): void {
    mkdirSync(directory, { recursive: true })
    writeWhole(this.#file, JSON.stringify({ key: this.#key, parts: Object.fromEntries(this.#parts) }))
  }
}

/** So that an interrupted run leaves no half of a file. */
function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}

/** A line for each part, so that it can be seen which changed. */
function line([key, value]: readonly [string, unknown]): string {
  return `${JSON.stringify(key)}: ${JSON.stringify(value, rounded)}`
}

/** No clock here is better than that. */
function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}
