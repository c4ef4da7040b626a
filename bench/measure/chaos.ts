/** Steady requests while one thing goes wrong: how many fail, and for how long. */

import { pause } from '../../src/lab/wait.ts'
import { ChaosBed, load } from '../chaos/bed.ts'
import { type Fault, faults } from '../chaos/faults.ts'
import { inBuilt } from '../lab/in-network.ts'
import type { OpenReport } from '../lab/programs.ts'
import { type VariantId, variant } from '../lab/variants.ts'
import type { Chart } from '../runner/chart.ts'
import type { Findings, Run } from '../runner/experiment.ts'
import { aim, figure } from '../runner/statistics.ts'
import { proxiesOf } from './graph/bed.ts'

export interface ChaosOptions {
  readonly variants: readonly VariantId[]
  /** Faults that last longer are cut to that, seconds. */
  readonly most: number
  /** How long load goes on after the end of a fault, seconds. */
  readonly tail: number
}

const leadMs = 1000
const disturbingMs = 500
/** A line is drawn where there is something to see in it. */
const drawn = ['rolling update', 'node of an endpoint', 'black-holed']

type Reports = ReadonlyMap<Fault, ReadonlyMap<VariantId, OpenReport>>

export async function measureChaos(run: Run, { variants: ids, most, tail }: ChaosOptions): Promise<Findings> {
  const reports = new Map(faults.map(fault => [fault, new Map<VariantId, OpenReport>()]))
  await inBuilt(
    { nodes: proxiesOf(ids).length + 2, families: ['IPv4'] },
    network => ChaosBed.build(network, ids),
    async built => {
      for (const fault of faults) {
        for (const id of ids) {
          if (fault.isPossible === false || (fault.lightpathOnly && variant(id).proxy !== 'lightpath')) continue
          const seconds = Math.min(most, fault.seconds)
          const report = await run.step(`${fault.name}, ${variant(id).name}`, async () =>
            measure(await built(), fault, id, { seconds, tail }),
          )
          reports.get(fault)!.set(id, report)
        }
      }
    },
  )
  return {
    tables: [
      {
        title: `${load.rate} requests/s on ${load.connections} connections, to ten endpoints`,
        header: [
          '',
          ...ids.flatMap(id => [`${variant(id).name}: failed`, 'disturbed', 'longest']),
          'aim for Lightpath',
        ],
        rows: [...reports].map(([fault, its]) => [
          fault.name,
          ...ids.flatMap(id => cells(its.get(id))),
          its.has('leastRequest') ? aimOf(fault, its.get('leastRequest')!) : '',
        ]),
        notes: [
          `GETs; what has no answer within 5 s of when it was due has failed; disturbed: the tenths of a second of which a request failed or took more than ${disturbingMs} ms; longest: of good answers; each fault lasts as long as its name says, or some seconds, here at most ${most} s`,
          'an endpoint that is killed leaves its slice a second later; one that is black-holed, slow or on a node that is gone stays in it: kubelet and controllers would take it out after 30 to 50 s',
        ],
      },
    ],
    charts: charts(reports, ids),
    data: Object.fromEntries([...reports].map(([fault, its]) => [fault.name, dataOf(its)])),
  }
}

async function measure(
  bed: ChaosBed,
  fault: Fault,
  id: VariantId,
  { seconds, tail }: { readonly seconds: number; readonly tail: number },
): Promise<OpenReport> {
  await forgetEjections(bed, id)
  const { report } = await bed.load(id, leadMs / 1000 + seconds + tail)
  await pause(leadMs)
  const end = pause(seconds * 1000)
  await fault.begin(bed, id)
  try {
    await end
  } finally {
    await fault.end?.(bed, id)
  }
  const seen = await report
  await bed.untilServed(id)
  return seen
}

/** Or an endpoint of the fault before would still be ejected, and none beside it could be. */
async function forgetEjections(bed: ChaosBed, id: VariantId): Promise<void> {
  const { envoy } = bed.proxied(id).processes
  await envoy?.down('SIGKILL')
  await envoy?.up()
  await bed.untilServed(id)
}

/** The tenths of a second of which a request failed or waited for its answer longer than anybody likes to. */
function disturbedSeconds({ series }: OpenReport): number {
  return series.filter(({ failed, max }) => failed > 0 || max > disturbingMs).length / 10
}

function cells(report: OpenReport | undefined): readonly string[] {
  if (!report) return ['–', '', '']
  return [String(report.failed), `${disturbedSeconds(report)} s`, `${figure(report.max)} ms`]
}

function aimOf({ aim: wanted = { failed: 0 } }: Fault, report: OpenReport): string {
  return 'failed' in wanted
    ? aim(`${wanted.failed === 0 ? '' : 'at most '}${wanted.failed} failed`, report.failed <= wanted.failed)
    : aim(`≤ ${wanted.seconds} s disturbed`, disturbedSeconds(report) <= wanted.seconds)
}

function charts(reports: Reports, ids: readonly VariantId[]): readonly Chart[] {
  return [...reports]
    .filter(([{ name }]) => drawn.some(part => name.includes(part)))
    .map(([{ name }, its]) => ({
      title: name,
      x: { title: 'seconds' },
      y: { title: 'longest answer of a tenth of a second, ms', log: true },
      lines: ids.flatMap(id => {
        const report = its.get(id)
        return report === undefined ? [] : [{ name: variant(id).name, points: report.series.map(pointOf) }]
      }),
      marks: [{ at: leadMs / 1000, text: 'fault' }],
    }))
}

function pointOf({ max }: { readonly max: number }, index: number): readonly [number, number] {
  return [index / 10, max]
}

/** The series has what there is to see. */
function dataOf(reports: ReadonlyMap<VariantId, OpenReport>): object {
  return Object.fromEntries([...reports].map(([id, { curve: _, ...rest }]) => [id, rest]))
}
