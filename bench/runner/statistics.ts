/** Figures, and how they are written. */

import { percentile } from '../../src/lab/load-report.ts'

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

/** The median, and between which values it lay: `12.3 (11.9–14.0)`. */
export function spread(values: readonly number[]): string {
  if (values.length === 1) return figure(values[0]!)
  return `${figure(median(values))} (${figure(Math.min(...values))}–${figure(Math.max(...values))})`
}

interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** What `spread` has written, with a unit behind it or without; undefined for a cell that states none. */
export function readSpread(cell: string): Spread | undefined {
  const [, ...parts] = /^([\d.,]+) \(([\d.,]+)–([\d.,]+)\)/.exec(cell) ?? []
  if (parts.length === 0) return undefined
  const [median, least, most] = parts.map(part => Number(part.replaceAll(',', ''))) as [number, number, number]
  return { median, least, most }
}
