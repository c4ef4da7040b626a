/** The main table of README.md and its plots: of bench/results the figures that a newcomer asks for first. */

import { type Result, readResult } from '../runner/results.ts'
import { markdown, plotFile } from './text.ts'

/** How two variants did: what is compared is better where it is smaller. */
interface Comparison {
  readonly what: string
  readonly experiment: string
  /** Which of its tables. */
  readonly table: number
  readonly theirs: Place
  readonly ours: Place
  readonly unit?: string
}

/** A row by one of its first cells, the last such, since the last has the most Services; and a column by its name or number. */
interface Place {
  readonly row: string
  readonly column: string | number
}

function byVariant(
  what: string,
  experiment: string,
  table: number,
  column: string,
  unit = '',
  ours = 'least request',
): Comparison {
  const place = (row: string): Place => ({ row, column })
  const sides = { theirs: place('kube-proxy, nftables'), ours: place(`Lightpath, ${ours}`) }
  return { what, experiment, table, unit, ...sides }
}

/** With the default, and by latency. */
function byBothPolicies(what: string, table: number, column: string): readonly Comparison[] {
  return [
    byVariant(`${what}: ${column}`, 'uneven', table, column, ' ms'),
    byVariant('the same with `lb-policy: PEAK_EWMA`', 'uneven', table, column, ' ms', 'peak EWMA'),
  ]
}

/** The chaos table has the variants beside each other. */
function byFault(what: string, row: string, figure: 'failed' | 'disturbed'): Comparison {
  const first = figure === 'failed' ? 1 : 2
  return { what, experiment: 'chaos', table: 0, theirs: { row, column: first }, ours: { row, column: first + 3 } }
}

function byLoadOnDeadNode(what: string, load: string): Comparison {
  const place = (proxy: string): Place => ({ row: `${load}, ${proxy}`, column: 'failed' })
  return { what, experiment: 'dead-node', table: 0, theirs: place('kube-proxy'), ours: place('Lightpath') }
}

const comparisons: readonly Comparison[] = [
  byVariant('seven services call each other: mean', 'graph', 0, 'mean', ' ms'),
  byVariant('the same, p99', 'graph', 0, 'p99', ' ms'),
  byVariant('one small request among 10 endpoints that are alike: p50', 'whoami', 0, 'p50', ' ms'),
  byVariant('five of the seven services fail now and then: GETs that fail', 'errors', 0, 'failed GETs'),
  ...byBothPolicies('one of ten endpoints is ten times slower', 0, 'p99'),
  ...byBothPolicies('one of ten endpoints stands still now and then', 1, 'p99.9'),
  byVariant('50 kept connections: an endpoint’s share is from even at most', 'keep-alive', 0, 'farthest from even'),
  byVariant('gRPC on one connection: the same', 'keep-alive', 1, 'farthest from even'),
  byVariant('a replaced endpoint is in effect, among other changes: p99', 'sizes', 2, 'p99'),
  {
    what: 'memory of kube-proxy and of the agent',
    experiment: 'sizes',
    table: 0,
    theirs: { row: 'kube-proxy, nftables', column: 'memory (RSS)' },
    ours: { row: 'agent', column: 'memory (RSS)' },
  },
  byFault('three rolling updates: requests that fail', 'rolling update of ten endpoints, three times', 'failed'),
  byFault('an endpoint answers 503: requests that fail', 'an endpoint answers 503', 'failed'),
  byFault(
    'the node of an endpoint is gone: time with requests that fail or wait',
    'the node of an endpoint gone: all its packets are dropped',
    'disturbed',
  ),
  byLoadOnDeadNode('one of four nodes dies: GETs that fail', 'GETs on kept connections'),
  byLoadOnDeadNode('the same: TCP connections that fail', 'a TCP connection for each request'),
]

/** Chart by experiment and number. */
const plots = [
  ['graph', 0],
  ['uneven', 0],
] as const

const marks = ['<!-- of bench/results, by bench/run -->', '<!-- end of bench/results -->'] as const

/** README.md with the table as it is to be. */
export function withMainTable(readme: string): string {
  const [begin, end] = marks.map(mark => readme.indexOf(mark)) as [number, number]
  if (begin < 0 || end < begin) throw new Error(`README.md lacks ${marks.join(' or ')}`)
  return `${readme.slice(0, begin + marks[0].length)}\n\n${mainTable()}\n\n${readme.slice(end)}`
}

/** Experiments without a result are left out. */
function mainTable(): string {
  const found = comparisons.flatMap(comparison => {
    const result = readResult(comparison.experiment)
    return result ? [{ comparison, result }] : []
  })
  const rows = found.map(({ comparison, result }) => rowOf(comparison, result))
  const results = [...new Map(found.map(({ result }) => [result.name, result])).values()]
  const table = { title: '', header: ['', 'kube-proxy (nftables)', 'Lightpath'], rows, notes: [] }
  const images = plots.flatMap(([name, number]) => {
    const chart = readResult(name)?.charts[number]
    return chart ? [`![${chart.title}](docs/benchmarks/${plotFile(name, number)})`] : []
  })
  return [markdown(table), provenance(results), ...images].join('\n\n')
}

function rowOf({ what, table, theirs, ours, unit = '' }: Comparison, result: Result): readonly string[] {
  const { header, rows } = result.tables[table]!
  const find = ({ row, column }: Place) => {
    const cells = rows.findLast(cells => cells.slice(0, 2).includes(row))
    const index = typeof column === 'number' ? column : header.indexOf(column)
    if (cells?.[index] === undefined) throw new Error(`${result.name} has no ${column} of ${row}`)
    return { size: cells[0]!, cell: cells[index] }
  }
  const [first, second] = [find(theirs), find(ours)]
  const size = /^[\d,]+$/.test(first.size) ? ` (${first.size} Services)` : ''
  const [a, b] = [first.cell, second.cell].map(cell => amountOf(cell)) as [number, number]
  return [what + size, mark(first.cell + unit, a < b), mark(second.cell + unit, b < a)]
}

function amountOf(cell: string): number {
  return Number(/^[\d.,]+/.exec(cell)![0].replaceAll(',', ''))
}

function mark(cell: string, isBetter: boolean): string {
  return isBetter ? `**${cell}**` : cell
}

function provenance(results: readonly Result[]): string {
  const names = (length: Result['length']) => results.filter(one => one.length === length).map(one => one.name)
  const [full, short] = [names('full'), names('short')]
  return [
    'The better one is bold; in brackets the least and the most of the rounds.',
    ...(full.length > 0 ? [`In full: ${full.join(', ')}.`] : []),
    ...(short.length > 0 ? [`By a short run, not for figures to quote: ${short.join(', ')}.`] : []),
  ].join(' ')
}
