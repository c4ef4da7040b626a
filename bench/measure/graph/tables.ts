/** Tables and charts of what was measured. */

import { type VariantId, variant } from '../../lab/variants.ts'
import type { Chart } from '../../runner/chart.ts'
import type { Table } from '../../runner/experiment.ts'
import { figure, median, spread } from '../../runner/statistics.ts'
import type { Sample } from './bed.ts'
import type { ByVariant } from './turns.ts'

export type Value = 'mean' | 'p50' | 'p75' | 'p90' | 'p99'

export function read(value: Value): (sample: Sample) => number {
  return ({ report }) => (value === 'mean' ? report.mean : report.percentiles[value]!)
}

/** The round whose mean is in the middle. */
function middleOf(rounds: readonly Sample[]): Sample {
  const byMean = rounds.toSorted((a, b) => a.report.mean - b.report.mean)
  return byMean[Math.floor(byMean.length / 2)]!
}

export function latencies(
  samples: ByVariant,
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

/** Where the time of a request goes: its CPU time by who took it. */
export function costs(samples: ByVariant, ids: readonly VariantId[]): Table {
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

export function latencyCurves(samples: ByVariant, ids: readonly VariantId[], title: string): Chart {
  return {
    title,
    x: { title: 'ms', log: true },
    y: { title: 'per cent of requests' },
    lines: ids.map(id => ({ name: variant(id).name, points: middleOf(samples.get(id)!).report.curve })),
  }
}
