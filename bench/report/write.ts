/** Writes docs/benchmarks.md, its plots and the main table of README.md, of what is in bench/results. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withMainTable } from './main-table.ts'
import { draw } from './plots.ts'
import { orderedResults, plotFile, report } from './text.ts'

const root = join(import.meta.dirname, '../..')
const plots = join(root, 'docs/benchmarks')

/** @returns the file */
export async function writeReport(): Promise<string> {
  rmSync(plots, { recursive: true, force: true })
  mkdirSync(plots, { recursive: true })
  for (const { name, charts } of orderedResults())
    for (const [number, chart] of charts.entries())
      writeFileSync(join(plots, plotFile(name, number)), await draw(chart))
  const readme = join(root, 'README.md')
  writeFileSync(readme, withMainTable(readFileSync(readme, 'utf8')))
  const file = join(root, 'docs/benchmarks.md')
  writeFileSync(file, report())
  return file
}
