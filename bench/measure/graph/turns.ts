/** Loads of the service graph, the variants in turns. */

import { rotated, type VariantId, variant } from '../../lab/variants.ts'
import type { Run } from '../../runner/experiment.ts'
import type { GraphBed, GraphLoad, Sample } from './bed.ts'

export type ByVariant = ReadonlyMap<VariantId, readonly Sample[]>

interface Turns {
  readonly variants: readonly VariantId[]
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
}

export async function measureInTurns(
  run: Run,
  built: () => Promise<GraphBed>,
  { variants: ids, rounds, seconds }: Turns,
  load: Omit<GraphLoad, 'seconds'>,
): Promise<ByVariant> {
  const { rate } = load
  const samples = new Map(ids.map(id => [id, [] as Sample[]]))
  for (let round = 0; round < rounds; round++) {
    for (const id of rotated(ids, round)) {
      const what = `${rate === 0 ? 'as many as possible' : `${rate} requests/s`}, ${variant(id).name}, round ${round + 1}`
      samples.get(id)!.push(await run.step(what, async () => (await built()).measure(id, { ...load, seconds })))
    }
  }
  return samples
}
