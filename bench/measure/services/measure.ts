/** Requests to Services of different endpoints, by open-loop load: every variant beside the others, in turns. */

import { inBuilt } from '../../lab/in-network.ts'
import { rotated, type VariantId, variant } from '../../lab/variants.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { nodesFor, ServicesBed } from './bed.ts'
import { type Case, loadsOf, type ServicesOptions } from './case.ts'
import { distributions, latencies, type Sample, type Samples } from './tables.ts'

const saturationSeconds = 5

export async function measureServices(run: Run, options: ServicesOptions): Promise<Findings> {
  const { cases, rounds } = options
  const all = new Map(
    Object.entries(cases).map(([name, { variants }]) => [name, new Map(variants.map(id => [id, [] as Sample[]]))]),
  )
  await inBuilt(
    { nodes: nodesFor(cases), families: ['IPv4'] },
    network => ServicesBed.build(network, cases),
    async built => {
      const rateOf = async (name: string): Promise<number> => {
        const { rate } = cases[name]!
        if (typeof rate === 'number') return rate
        const most = await run.step(`${name}: saturation`, async () =>
          (await built()).saturation(name, saturationSeconds),
        )
        return Math.round(most * rate.partOfSaturation)
      }
      for (let round = 0; round < rounds; round++) {
        for (const [name, one] of Object.entries(cases)) {
          const { eachRound, seconds } = loadsOf(one, options)
          const rate = await rateOf(name)
          for (let turn = round * eachRound; turn < (round + 1) * eachRound; turn++) {
            for (const id of rotated(one.variants, turn)) {
              const load = async () => (await built()).load(name, id, rate, seconds)
              const sample = await run.step(`${name}, ${variant(id).name}, round ${turn + 1}`, load)
              all.get(name)!.get(id)!.push(sample)
            }
          }
        }
      }
    },
  )
  return {
    tables: Object.entries(cases).map(([name, one]) => latencies(name, all.get(name)!, one, options)),
    charts: [...all].map(([name, samples]) => distributions(name, samples)),
    data: dataOf(all, cases),
  }
}

/** Without the time series, and the curves of loads as short as a turn: there is nothing to see in them here. */
function dataOf(all: ReadonlyMap<string, Samples>, cases: ServicesOptions['cases']): object {
  const ofCase = (samples: Samples, { turn }: Case) => {
    const kept = ({ series: _, curve, ...rest }: Sample) => (turn === undefined ? { ...rest, curve } : rest)
    return Object.fromEntries(
      [...samples].map(([id, its]: readonly [VariantId, readonly Sample[]]) => [id, its.map(kept)]),
    )
  }
  return Object.fromEntries([...all].map(([name, samples]) => [name, ofCase(samples, cases[name]!)]))
}
