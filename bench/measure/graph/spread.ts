/** The service graph at a rate that each variant carries, with requests that come one by one. */

import { inBuilt } from '../../lab/in-network.ts'
import type { VariantId } from '../../lab/variants.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { GraphBed, proxiesOf } from './bed.ts'
import { costs, latencies, latencyCurves } from './tables.ts'
import { measureInTurns } from './turns.ts'

export interface SpreadOptions {
  readonly graph: string
  readonly variants: readonly VariantId[]
  readonly rate: number
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
}

export async function measureSpread(run: Run, options: SpreadOptions): Promise<Findings> {
  const { graph, variants: ids, rate, rounds, seconds } = options
  const samples = await inBuilt(
    { nodes: proxiesOf(ids).length, families: ['IPv4'] },
    network => GraphBed.build(network, graph, 'plain', ids),
    built => measureInTurns(run, built, options, { rate, uniform: true }),
  )
  const title = `${rate} requests/s, one by one`
  const notes = [`medians of ${rounds} rounds of ${seconds} s, the variants in turns, 20 connections that take turns`]
  return {
    tables: [latencies(samples, ids, title, notes), costs(samples, ids)],
    charts: [latencyCurves(samples, ids, `Service graph at ${title}: latency`)],
    data: Object.fromEntries(samples),
  }
}
