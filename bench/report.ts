/** What the benchmarks say, in figures and in words. */

import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { percentile } from '../src/lab/load-report.ts'

export interface Report {
  readonly title: string
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly notes: readonly string[]
  /** Everything that was measured, for --output json. */
  readonly data: object
}

export interface Machine {
  readonly date: string
  readonly cores: number
  readonly cpu: string
  readonly memoryGB: number
  readonly kernel: string
  readonly node: string
  /** Of the last minute: what else the machine did as this began. */
  readonly load: number
}

export function machine(): Machine {
  return {
    date: new Date().toISOString(),
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    kernel: release(),
    node: process.version,
    load: loadavg()[0]!,
  }
}

export function median(values: readonly number[]): number {
  const ascending = values.toSorted((a, b) => a - b)
  const middle = ascending.length / 2
  return ascending.length % 2 === 1 ? ascending[Math.floor(middle)]! : (ascending[middle - 1]! + ascending[middle]!) / 2
}

export function p(values: readonly number[], percent: number): number {
  return percentile(
    values.toSorted((a, b) => a - b),
    percent,
  )
}

/** Three significant figures, thousands separated: 12,300 and 0.987. */
export function figure(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** What was aimed at and whether it was reached: `≤ 15 s: yes`. */
export function aim(text: string, met: boolean): string {
  return `${text}: ${met ? 'yes' : 'NO'}`
}
