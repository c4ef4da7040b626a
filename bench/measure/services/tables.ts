/** Tables and charts of what was measured. */

import type { OpenReport } from '../../lab/programs.ts'
import { type VariantId, variant } from '../../lab/variants.ts'
import type { Chart } from '../../runner/chart.ts'
import type { Table } from '../../runner/experiment.ts'
import { aim, median, spread } from '../../runner/statistics.ts'
import { type Case, type FigureName, loadsOf, type ServicesOptions } from './case.ts'

export interface Sample extends OpenReport {
  /** Requests a second that were due. */
  readonly rate: number
  /** Of Envoy for each request, microseconds; undefined without one. */
  readonly cpu: number | undefined
}

/** By variant, a sample of each round. */
export type Samples = ReadonlyMap<VariantId, readonly Sample[]>

/** The figure of variants whose case has no aim. */
const usualFigures: readonly FigureName[] = ['p99']

export function latencies(name: string, samples: Samples, one: Case, options: ServicesOptions): Table {
  const { base, aims, connections } = one
  const aimed = aims?.most ?? []
  const { all: rounds, seconds } = loadsOf(one, options)
  const figures = aimed.length > 0 ? aimed.map(({ figure }) => figure) : usualFigures
  const ratiosOf = (its: readonly Sample[], figure: FigureName) =>
    its.flatMap((sample, round) => ratio(figureOf(sample, figure), figureOf(samples.get(base)![round]!, figure)))
  const rates = [...samples.values()].flat().map(({ rate }) => rate)
  return {
    title: name,
    header: [
      'ms',
      ...['mean', 'p50', 'p90', 'p99', 'p99.9'],
      ...figures.map(figure => `${figure}, part of: ${variant(base).name}`),
      'failed',
      aimed.length > 0 ? 'aim' : '',
    ],
    rows: [...samples].map(([id, its]) => [
      variant(id).name,
      spread(its.map(({ mean }) => mean)),
      ...['p50', 'p90', 'p99', 'p99.9'].map(of => spread(its.map(({ percentiles }) => percentiles[of]!))),
      ...figures.map(figure => spreadOrNone(ratiosOf(its, figure))),
      String(its.reduce((sum, { failed }) => sum + failed, 0)),
      aims?.of === id
        ? aimed.map(({ figure, most }) => aim(`${figure} ≤ ${most}`, median(ratiosOf(its, figure)) <= most)).join(', ')
        : '',
    ]),
    notes: [
      `${rounds} rounds of ${seconds} s at ${spread([...new Set(rates)])} requests/s on ${connections} connections, the variants in turns`,
    ],
  }
}

function figureOf({ mean, percentiles, cpu }: Sample, figure: FigureName): number | undefined {
  return figure === 'mean' ? mean : figure === 'cpu' ? cpu : percentiles[figure]
}

function ratio(of: number | undefined, to: number | undefined): readonly number[] {
  return of === undefined || to === undefined ? [] : [of / to]
}

function spreadOrNone(values: readonly number[]): string {
  return values.length === 0 ? '' : spread(values)
}

export function distributions(name: string, samples: Samples): Chart {
  const middle = (its: readonly Sample[]) => its.toSorted((a, b) => a.mean - b.mean)[Math.floor(its.length / 2)]!
  return {
    title: name,
    x: { title: 'ms', log: true },
    y: { title: 'per cent of requests' },
    lines: [...samples].map(([id, its]) => ({ name: variant(id).name, points: middle(its).curve })),
  }
}
