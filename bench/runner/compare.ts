/** Whether a second run's figures lie within the spread that the first one's tables state. */

import type { Table } from './experiment.ts'
import { readSpread } from './statistics.ts'

export interface RowComparison {
  /** Title of the table, and the row's first cell or two. */
  readonly table: string
  readonly row: string
  /** How many figures of it have a spread. */
  readonly stated: number
  /** Those that are not within theirs. */
  readonly outside: readonly Outside[]
  /** Aims that only one of the two runs has met. */
  readonly aims: readonly { readonly first: string; readonly second: string }[]
}

export interface Outside {
  readonly column: string
  readonly first: string
  readonly second: string
}

/** By place: titles and rows may name what was measured, such as a rate, and so differ. */
export function compare(first: readonly Table[], second: readonly Table[]): readonly RowComparison[] {
  return first.flatMap((table, index) =>
    table.rows.map((cells, row) => compareRow(table, cells, second[index]?.rows[row] ?? [])),
  )
}

export function summary(rows: readonly RowComparison[]): string {
  const stated = rows.reduce((sum, row) => sum + row.stated, 0)
  const outside = rows.reduce((sum, row) => sum + row.outside.length, 0)
  const aims = rows.reduce((sum, row) => sum + row.aims.length, 0)
  const unlike = aims === 0 ? 'all aims are met or missed as before' : `${aims} aims are not met or missed as before`
  return `${stated - outside} of ${stated} figures that have a spread lie within it; ${unlike}`
}

function compareRow({ title, header }: Table, first: readonly string[], second: readonly string[]): RowComparison {
  const cells = first.map((text, index) => ({ column: header[index] ?? '', first: text, second: second[index] ?? '' }))
  const stated = cells.filter(cell => readSpread(cell.first) !== undefined)
  return {
    table: title,
    row: nameOf(first),
    stated: stated.length,
    outside: stated.filter(cell => !isWithin(cell.first, cell.second)),
    aims: cells.filter(cell => verdicts(cell.first) !== verdicts(cell.second)),
  }
}

/** Where the first cell does not name the row alone, such as a number of Services. */
function nameOf([first = '', second = '']: readonly string[]): string {
  return /^[\d,]*$/.test(first) ? `${first} ${second}`.trim() : first.trim()
}

function isWithin(first: string, second: string): boolean {
  const { least, most } = readSpread(first)!
  const median = readSpread(second)?.median
  return median !== undefined && least <= median && median <= most
}

/** Of aims, as statistics.ts writes them. */
function verdicts(text: string): string {
  return [...text.matchAll(/: (yes|NO)\b/g)].map(([, verdict]) => verdict).join()
}
