/** Renders the output of `lightpath top`, as wide and as long as there is room. Pure. */

import type { Report } from '../../top/report.ts'
import type { PortTraffic } from '../../top/traffic.ts'
import { paint } from '../output/table.ts'

/** The size of the terminal; undefined without a limit. */
export interface Size {
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

interface Column {
  readonly title: string
  readonly cell: (traffic: PortTraffic) => string
  readonly isText?: boolean
  /** Columns of the greatest number go first where there is not room for all. */
  readonly goes: number
}

/** A column of a Service port, and of each endpoint where one Service alone is shown. */
const columns: readonly Column[] = [
  {
    title: 'SERVICE PORT',
    cell: ({ namespace, service, port }) => `${namespace}/${service}:${port}`,
    isText: true,
    goes: 0,
  },
  { title: 'LAYER', cell: ({ layer }) => (layer === 'envoy' ? 'Envoy' : layer), isText: true, goes: 5 },
  { title: 'REQ/S', cell: ofEnvoy(({ requestsPerSecond }) => number(requestsPerSecond)), goes: 0 },
  { title: 'P50', cell: ({ latency }) => duration(latency.p50), goes: 4 },
  { title: 'P99', cell: ({ latency }) => duration(latency.p99), goes: 2 },
  { title: 'ERR/S', cell: ofEnvoy(({ errorsPerSecond }) => number(errorsPerSecond)), goes: 1 },
  { title: 'RETRY/S', cell: ofEnvoy(({ retriesPerSecond }) => number(retriesPerSecond)), goes: 6 },
  { title: 'EJECTED', cell: ofEnvoy(({ ejectedEndpoints }) => String(ejectedEndpoints)), goes: 7 },
  { title: 'CONNS', cell: ({ connections }) => String(connections), goes: 8 },
  { title: 'PINNED', cell: ({ pinnedConnections }) => String(pinnedConnections), goes: 3 },
  { title: 'SHARE OF EACH ENDPOINT', cell: sharesText, isText: true, goes: 9 },
]

/** Lines of the terminal that are no Service ports: the first two, the header, the rest, and where the cursor stays. */
const otherLines = 5
/** How many errors of nodes without data are shown. */
const mostErrors = 5

export function render(report: Report, chosen: string | undefined, size: Size = {}): string {
  const isOne = chosen?.includes('/') === true
  const busy = report.ports.filter(port => isOne || port.requestsPerSecond > 0 || port.connections > 0)
  const idle = report.ports.length - busy.length
  const errors = errorLines(report)
  const room = size.rows === undefined ? Number.POSITIVE_INFINITY : Math.max(1, size.rows - otherLines - errors.length)
  const shown = busy.slice(0, room)
  const hidden = busy.length - shown.length
  const lines = [
    headline(report),
    ...errors,
    '',
    ...(shown.length > 0 ? portLines(shown, size.columns) : [nothing(chosen, report.ports.length)]),
    ...(hidden > 0 || idle > 0 ? [rest(hidden, idle)] : []),
    ...(isOne ? shown.flatMap(endpointLines) : []),
  ]
  const most = size.rows === undefined ? lines : lines.slice(0, size.rows - 1)
  return `${most.map(line => cut(line, size.columns)).join('\n')}\n`
}

function headline({ nodes, time, intervalSeconds }: Report): string {
  const known = nodes.filter(({ error }) => error === undefined)
  const who = nodes.length === 1 ? `node ${nodes[0]!.name}` : `${known.length} of ${nodes.length} nodes`
  return `${who}, ${time.slice(11, 19)} UTC, of the last ${number(intervalSeconds)} s`
}

function errorLines({ nodes }: Report): readonly string[] {
  const lines = nodes.filter(({ error }) => error !== undefined).map(({ name, error }) => `node ${name}: ${error}`)
  const more = lines.length - mostErrors
  return more > 0 ? [...lines.slice(0, mostErrors), `and ${more} more nodes`] : lines
}

function nothing(chosen: string | undefined, ports: number): string {
  if (chosen !== undefined && ports === 0) return `no Service ports of ${chosen}`
  return 'no requests, and no open connections to Services'
}

function rest(hidden: number, idle: number): string {
  const parts = [
    ...(hidden > 0 ? [`${hidden} more Service ports with traffic`] : []),
    ...(idle > 0 ? [`${idle} without`] : []),
  ]
  return parts.join(', ')
}

function portLines(ports: readonly PortTraffic[], width = Number.POSITIVE_INFINITY): readonly string[] {
  let kept = columns
  while (kept.length > 2 && widthOf(kept, ports) > width) {
    const first = Math.max(...kept.map(({ goes }) => goes))
    // Lines of endpoints are cut before anything else.
    if (kept.at(-1)!.goes === 9 && widthOf(kept.slice(0, -1), ports) + kept.at(-1)!.title.length + 2 <= width) break
    kept = kept.filter(({ goes }) => goes !== first)
  }
  const rows = [kept.map(({ title }) => title), ...ports.map(port => kept.map(({ cell }) => cell(port)))]
  const widths = kept.map((_, at) => Math.max(...rows.map(row => row[at]!.length)))
  const [header, ...others] = rows.map(row =>
    row
      .map((cell, at) => (kept[at]!.isText ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd(),
  )
  return [paint('bold', cut(header!, width)), ...others]
}

/** The last column may be cut. */
function widthOf(kept: readonly Column[], ports: readonly PortTraffic[]): number {
  const widths = kept.map(({ title, cell }) => Math.max(title.length, ...ports.map(port => cell(port).length)))
  return widths.reduce((sum, width) => sum + width + 2, -2)
}

const barLength = 30

/** One line for each endpoint. */
function endpointLines(traffic: PortTraffic): readonly string[] {
  const { endpoints, port } = traffic
  if (endpoints.length === 0) return []
  const width = Math.max(...endpoints.map(({ address }) => address.length))
  const lines = shares(traffic).map(({ address, share, count, unit, answersIn }) => {
    const bar = '#'.repeat(Math.round(share * barLength)).padEnd(barLength)
    const estimate = answersIn === undefined ? '' : `, answers in ${duration(answersIn)}`
    return `  ${address.padEnd(width)}  ${percent(share).padStart(4)}  ${bar}  ${number(count)} ${unit}${estimate}`
  })
  return ['', `Endpoints of port ${port}`, ...lines]
}

/** The share of requests where Envoy chooses for each, else of connections that stay where they are. */
function shares(traffic: PortTraffic) {
  const { endpoints } = traffic
  const byRequests = endpoints.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0)
  const byConnections = endpoints.reduce((sum, { pinnedConnections }) => sum + pinnedConnections, 0)
  return endpoints.map(({ address, requestsPerSecond, pinnedConnections: pinned, answersIn }) =>
    byRequests > 0
      ? { address, answersIn, share: requestsPerSecond / byRequests, count: requestsPerSecond, unit: 'requests/s' }
      : {
          address,
          answersIn,
          share: pinned / (byConnections || 1),
          count: pinned,
          unit: pinned === 1 ? 'connection' : 'connections',
        },
  )
}

function sharesText(traffic: PortTraffic): string {
  const all = shares(traffic)
  return all.some(({ share }) => share > 0) ? all.map(({ share }) => percent(share)).join(' ') : '-'
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`
}

/** A cell of ports in Envoy: for the other layers nobody counts requests. */
function ofEnvoy(cell: Column['cell']): Column['cell'] {
  return traffic => (traffic.layer === 'envoy' || traffic.layer === 'mixed' ? cell(traffic) : '-')
}

function number(value: number): string {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1)
}

function duration(seconds: number | undefined): string {
  if (seconds === undefined) return '-'
  const ms = seconds * 1000
  return ms < 10 ? `${ms.toFixed(1)}ms` : ms < 10_000 ? `${Math.round(ms)}ms` : `${Math.round(seconds)}s`
}

function cut(line: string, width = Number.POSITIVE_INFINITY): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`
}
