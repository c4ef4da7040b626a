/** docs/benchmarks.md and its plots, of what is in bench/results. Its first part is written by hand: introduction.md. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { experimentNames } from '../experiments/all.ts'
import type { Table } from '../runner/experiment.ts'
import { isBusy } from '../runner/machine.ts'
import { type Result, readResults } from '../runner/results.ts'
import { draw } from './plots.ts'

const docs = join(import.meta.dirname, '../../docs')
const plots = join(docs, 'benchmarks')

/** @returns the file */
export async function writeReport(): Promise<string> {
  const results = readResults().toSorted((a, b) => placeOf(a) - placeOf(b))
  rmSync(plots, { recursive: true, force: true })
  mkdirSync(plots, { recursive: true })
  const sections: string[] = []
  for (const result of results) sections.push(await section(result))
  const introduction = readFileSync(join(import.meta.dirname, 'introduction.md'), 'utf8')
  const file = join(docs, 'benchmarks.md')
  writeFileSync(file, `${[introduction.trimEnd(), ...sections].join('\n\n')}\n`)
  return file
}

/** In the order in which they run; others come last. */
function placeOf({ name }: Result): number {
  const place = experimentNames.indexOf(name)
  return place < 0 ? experimentNames.length : place
}

async function section(result: Result): Promise<string> {
  const { name, title, shows, tables, charts } = result
  const images: string[] = []
  for (const [index, chart] of charts.entries()) {
    const file = `${name}-${index + 1}.svg`
    writeFileSync(join(plots, file), await draw(chart))
    images.push(`![${chart.title}](benchmarks/${file})`)
  }
  return [`## ${title}`, shows, provenance(result), ...tables.map(markdown), ...images].join('\n\n')
}

function provenance({ command, length, date, seconds, machine, versions }: Result): string {
  const { cores, cpu, memoryGB, load } = machine
  const doubts = [
    ...(length === 'short' ? ['short run, not for figures to quote'] : []),
    ...(isBusy(machine) ? [`busy machine (load ${load})`] : []),
  ]
  const warning = doubts.length > 0 ? `**${capital(doubts.join('; '))}.** ` : ''
  return (
    `${warning}\`${command}\`, ${date.slice(0, 10)}, ${Math.ceil(seconds / 60)} min on ${cores} cores (${cpu}), ${memoryGB} GB; ` +
    `Linux ${versions.kernel}, Envoy ${versions.envoy}, Kubernetes ${versions.kubernetes}, Node.js ${versions.node}, ` +
    `Lightpath ${versions.lightpath}.`
  )
}

function markdown({ title, header, rows, notes }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell => cell.trim().replaceAll('|', '\\|')).join(' | ')} |`
  const table = [line(header), `|${' --- |'.repeat(header.length)}`, ...rows.map(line)].join('\n')
  const below = notes.map(note => `${capital(note)}.`).join(' ')
  return [`**${title}**`, table, below].filter(part => part !== '').join('\n\n')
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
