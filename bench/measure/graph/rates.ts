/** The service graph at rising rates: from a quarter of what all compared variants carry up to as much as each can. */

import { inBuilt } from '../../lab/in-network.ts'
import { rotated, type VariantId, variant } from '../../lab/variants.ts'
import type { Chart } from '../../runner/chart.ts'
import type { Findings, Run, Table } from '../../runner/experiment.ts'
import { aim, figure, median, spread } from '../../runner/statistics.ts'
import { GraphBed, proxiesOf, type Sample } from './bed.ts'

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
type Samples = ReadonlyMap<number, ReadonlyMap<VariantId, readonly Sample[]>>

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
      const saturated = await measureAll(run, built, options, 0)
      const saturation = (id: VariantId) => median(saturated.get(id)!.map(({ report }) => report.reached))
      const reference = Math.min(most, Math.floor(share * Math.min(...compared.map(saturation))))
      const samples = new Map([[0, saturated]])
      for (const part of parts) samples.set(part, await measureAll(run, built, options, Math.round(part * reference)))
      return report(samples, reference, options)
    },
  )
}

async function measureAll(
  run: Run,
  built: () => Promise<GraphBed>,
  { variants: ids, rounds, seconds }: RatesOptions,
  rate: number,
): Promise<ReadonlyMap<VariantId, readonly Sample[]>> {
  const samples = new Map(ids.map(id => [id, [] as Sample[]]))
  for (let round = 0; round < rounds; round++) {
    for (const id of rotated(ids, round)) {
      const what = `${rate === 0 ? 'as many as possible' : `${rate} requests/s`}, ${variant(id).name}, round ${round + 1}`
      samples.get(id)!.push(await run.step(what, async () => (await built()).measure(id, { rate, seconds })))
    }
  }
  return samples
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
      {
        title: `Service graph at ${reference} requests/s: latency`,
        x: { title: 'ms', log: true },
        y: { title: 'per cent of requests' },
        lines: ids.map(id => ({ name: variant(id).name, points: middleOf(at.get(id)!).report.curve })),
      },
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

type Value = 'mean' | 'p50' | 'p75' | 'p90' | 'p99'

function read(value: Value): (sample: Sample) => number {
  return ({ report }) => (value === 'mean' ? report.mean : report.percentiles[value]!)
}

/** The round whose mean is in the middle. */
function middleOf(rounds: readonly Sample[]): Sample {
  const byMean = rounds.toSorted((a, b) => a.report.mean - b.report.mean)
  return byMean[Math.floor(byMean.length / 2)]!
}

function latencies(
  samples: ReadonlyMap<VariantId, readonly Sample[]>,
  ids: readonly VariantId[],
  title: string,
  notes: readonly string[],
): Table {
  const values = ['mean', 'p50', 'p75', 'p90', 'p99'] as const
  const floor = (value: Value) => median(samples.get('pod')!.map(read(value)))
  return {
    title,
    header: ['ms', ...values, 'mean over the floor'],
    rows: ids.map(id => {
      const rounds = samples.get(id)!
      const cells = values.map(value => spread(rounds.map(read(value))))
      return [variant(id).name, ...cells, figure(median(rounds.map(read('mean'))) / floor('mean'))]
    }),
    notes: [...notes, 'the floor is the pod address: the same graph without any proxy'],
  }
}

function aims(samples: ReadonlyMap<VariantId, readonly Sample[]>, reference: number): Table {
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

/** Where the time of a request goes: its CPU time by who took it. */
function costs(samples: ReadonlyMap<VariantId, readonly Sample[]>, ids: readonly VariantId[]): Table {
  const groups = ['servers', 'envoy', 'control', 'all'] as const
  return {
    title: 'CPU time of a request through the whole graph',
    header: ['ms', 'servers', 'Envoy', 'agent or kube-proxy', 'the whole machine'],
    rows: ids.map(id => {
      const cost = (group: string) =>
        median(samples.get(id)!.map(({ cpu, report }) => (cpu[group]! / report.requests) * 1000))
      return [variant(id).name, ...groups.map(group => figure(cost(group)))]
    }),
    notes: ['the whole machine: with the client, and with whatever else ran'],
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
