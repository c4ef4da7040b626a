/** docs/benchmarks.md as text: what is in bench/results. Its first part is written by hand: introduction.md. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { experimentNames } from '../experiments/all.ts'
import { compare, summary } from '../runner/compare.ts'
import type { Table } from '../runner/experiment.ts'
import { isBusy } from '../runner/machine.ts'
import { type Result, readResult, readResults } from '../runner/results.ts'

export function report(): string {
  const introduction = readFileSync(join(import.meta.dirname, 'introduction.md'), 'utf8')
  return `${[introduction.trimEnd(), ...orderedResults().map(section)].join('\n\n')}\n`
}

/** In the order in which they run; others come last. */
export function orderedResults(): readonly Result[] {
  return readResults().toSorted((a, b) => placeOf(a) - placeOf(b))
}

/** Of the chart of that number, in docs/benchmarks. */
export function plotFile(name: string, number: number): string {
  return `${name}-${number + 1}.svg`
}

function placeOf({ name }: Result): number {
  const place = experimentNames.indexOf(name)
  return place < 0 ? experimentNames.length : place
}

function section(result: Result): string {
  const { name, title, shows, tables, charts } = result
  const images = charts.map((chart, number) => `![${chart.title}](benchmarks/${plotFile(name, number)})`)
  return [`## ${title}`, shows, provenance(result), ...again(result), ...tables.map(markdown), ...images].join('\n\n')
}

/** How a second run compares. */
function again(first: Result): readonly string[] {
  const second = readResult(first.name, 'again')
  if (second?.length !== first.length) return []
  const { date, versions } = second
  return [
    `Of a second run (${date.slice(0, 10)}, Lightpath ${versions.lightpath}) ${summary(compare(first.tables, second.tables))}.`,
  ]
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

export function markdown({ title, header, rows, notes }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell => cell.trim().replaceAll('|', '\\|')).join(' | ')} |`
  const table = [line(header), `|${' --- |'.repeat(header.length)}`, ...rows.map(line)].join('\n')
  const below = notes.map(note => `${capital(note)}.`).join(' ')
  return [title && `**${title}**`, table, below].filter(part => part !== '').join('\n\n')
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
