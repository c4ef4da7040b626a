/** What a run leaves: one file of JSON for each experiment, in one format. */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
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

export function writeResult(result: Result): string {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, `${result.name}.json`)
  writeWhole(file, `${JSON.stringify(result, rounded, 1)}\n`)
  return file
}

export function readResult(name: string): Result | undefined {
  const file = join(directory, `${name}.json`)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Result) : undefined
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

/** No clock here is better than that. */
function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}
