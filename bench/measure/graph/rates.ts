/** The service graph at rising rates: from a quarter of what all compared variants carry up to as much as each can. */

import { inBuilt } from '../../lab/in-network.ts'
import { type VariantId, variant } from '../../lab/variants.ts'
import type { Chart } from '../../runner/chart.ts'
import type { Findings, Run, Table } from '../../runner/experiment.ts'
import { aim, figure, median, spread } from '../../runner/statistics.ts'
import { GraphBed, proxiesOf } from './bed.ts'
import { costs, latencies, latencyCurves, read, type Value } from './tables.ts'
import { type ByVariant, measureInTurns } from './turns.ts'

export interface RatesOptions {
  readonly graph: string
  readonly variants: readonly VariantId[]
  /** Those whose saturation counts for the rate that the aims are for: that of the least of them. */
  readonly compared: readonly VariantId[]
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
}

/** By rate as a part of the reference; 0: as many as possible. */
type Samples = ReadonlyMap<number, ByVariant>

const most = 500
const share = 0.7
const parts = [0.25, 0.5, 1]
const base: VariantId = 'nftables'

export async function measureRates(run: Run, options: RatesOptions): Promise<Findings> {
  const { graph, variants: ids, compared } = options
  const nodes = proxiesOf(ids).length
  return inBuilt(
    { nodes, families: ['IPv4'] },
    network => GraphBed.build(network, graph, 'plain', ids),
    async built => {
      const saturated = await measureInTurns(run, built, options, { rate: 0 })
      const saturation = (id: VariantId) => median(saturated.get(id)!.map(({ report }) => report.reached))
      const reference = Math.min(most, Math.floor(share * Math.min(...compared.map(saturation))))
      const samples = new Map([[0, saturated]])
      for (const part of parts)
        samples.set(part, await measureInTurns(run, built, options, { rate: Math.round(part * reference) }))
      return report(samples, reference, options)
    },
  )
}

function report(samples: Samples, reference: number, { variants: ids, rounds, seconds }: RatesOptions): Findings {
  const at = samples.get(1)!
  const notes = [
    `medians of ${rounds} rounds of ${seconds} s, the variants in turns, 20 connections; in brackets the least and the most of the rounds`,
  ]
  return {
    tables: [
      latencies(at, ids, `At ${reference} requests/s`, notes),
      aims(at, reference),
      costs(at, ids),
      saturations(samples, ids, reference),
    ],
    charts: [
      latencyCurves(at, ids, `Service graph at ${reference} requests/s: latency`),
      overRates(samples, ids, reference),
    ],
    data: Object.fromEntries([...samples].map(([part, its]) => [part, Object.fromEntries(its)])),
  }
}

function overRates(samples: Samples, ids: readonly VariantId[], reference: number): Chart {
  const p99 = (part: number, id: VariantId) => median(samples.get(part)!.get(id)!.map(read('p99')))
  return {
    title: 'Service graph: p99 over the rate',
    x: { title: 'requests/s' },
    y: { title: 'p99, ms', log: true },
    lines: ids.map(id => ({
      name: variant(id).name,
      points: parts.map(part => [Math.round(part * reference), p99(part, id)] as const),
    })),
  }
}

function aims(samples: ByVariant, reference: number): Table {
  const bounds: readonly (readonly [Value, number, string])[] = [
    ['mean', 0.75, '0.70 and 0.74'],
    ['p99', 0.35, '0.30 and 0.34'],
    ['p50', 1.6, '2.6 and 2.7'],
  ]
  const ids = ['roundRobin', 'leastRequest'] as const
  const ratio = (id: VariantId, value: Value) =>
    median(samples.get(id)!.map(read(value))) / median(samples.get(base)!.map(read(value)))
  return {
    title: `Ratio to kube-proxy (nftables) at ${reference} requests/s`,
    header: ['', ...ids.map(id => variant(id).name), 'the thesis', 'aim'],
    rows: bounds.map(([value, bound, thesis]) => {
      const ratios = ids.map(id => ratio(id, value))
      return [value, ...ratios.map(figure), thesis, aim(`≤ ${bound}`, Math.min(...ratios) <= bound)]
    }),
    notes: [],
  }
}

function saturations(samples: Samples, ids: readonly VariantId[], reference: number): Table {
  return {
    title: 'As many requests as possible, and p99 at lower rates',
    header: ['', 'requests/s', ...parts.map(part => `p99 at ${Math.round(part * reference)}/s, ms`)],
    rows: ids.map(id => [
      variant(id).name,
      spread(
        samples
          .get(0)!
          .get(id)!
          .map(({ report }) => report.reached),
      ),
      ...parts.map(part => figure(median(samples.get(part)!.get(id)!.map(read('p99'))))),
    ]),
    notes: [
      `${reference} requests/s are ${share * 100} % of what the least of the compared variants carries, at most ${most}: more would measure the queue of a machine that has too few cores for it`,
    ],
  }
}
