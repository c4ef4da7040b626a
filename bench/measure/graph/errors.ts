/** The service graph where services answer errors: what clients see of them, and whether a POST comes twice. */

import { failingShare, readGraph } from '../../graph/graph.ts'
import { inBuilt } from '../../lab/in-network.ts'
import { rotated, type VariantId, variant } from '../../lab/variants.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { aim, figure, spread } from '../../runner/statistics.ts'
import { GraphBed, type Posts, proxiesOf, type Sample } from './bed.ts'

export interface ErrorsOptions {
  readonly graph: string
  readonly scenario: string
  readonly variants: readonly VariantId[]
  readonly rate: number
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
}

interface Measured {
  readonly gets: Sample
  readonly posts: Posts
}

export async function measureErrors(run: Run, options: ErrorsOptions): Promise<Findings> {
  const { graph, scenario, variants: ids, rate, rounds, seconds } = options
  const measured = new Map(ids.map(id => [id, [] as Measured[]]))
  await inBuilt(
    { nodes: proxiesOf(ids).length, families: ['IPv4'] },
    network => GraphBed.build(network, graph, scenario, ids),
    async built => {
      for (let round = 0; round < rounds; round++) {
        for (const id of rotated(ids, round)) {
          const one = await run.step(`${variant(id).name}, round ${round + 1}`, async () => {
            const bed = await built()
            const gets = await bed.measure(id, { rate, seconds })
            return { gets, posts: await bed.measurePosts(id, { rate, seconds }) }
          })
          measured.get(id)!.push(one)
        }
      }
    },
  )
  return report(measured, options)
}

function report(measured: ReadonlyMap<VariantId, readonly Measured[]>, options: ErrorsOptions): Findings {
  const { graph, scenario, rate, rounds, seconds } = options
  const errors = readGraph(graph).scenarios[scenario]!
  const rates = Object.entries(errors).map(([service, percent]) => `${service} ${percent} %`)
  const expected = failingShare(readGraph(graph), scenario)
  const rows = [...measured].map(([id, its]) => {
    const gets = its.map(({ gets }) => gets.report)
    const failedOf = ({ codes, requests }: Sample['report']) => requests - (codes['200'] ?? 0)
    const failed = gets.reduce((sum, one) => sum + failedOf(one), 0)
    const all = gets.reduce((sum, { requests }) => sum + requests, 0)
    const posts = (of: (posts: Posts) => number) => its.reduce((sum, one) => sum + of(one.posts), 0)
    const [sent, seen] = [posts(one => one.sent), posts(one => one.seen)]
    const isLightpath = variant(id).layer === 'envoy'
    return [
      variant(id).name,
      `${spread(gets.map(one => (failedOf(one) / one.requests) * 100))} %`,
      `${failed} of ${all}`,
      spread(gets.map(({ percentiles }) => percentiles.p99!)),
      `${figure((posts(one => one.failed) / sent) * 100)} %`,
      `${sent}, ${seen}`,
      isLightpath ? aim('0 failed GETs, no POST twice', failed === 0 && seen <= sent) : '',
    ]
  })
  return {
    tables: [
      {
        title: `Errors of ${rates.join(', ')}, at ${rate} requests/s`,
        header: ['', 'failed GETs', '', 'p99 of GETs, ms', 'failed POSTs', 'POSTs sent, and seen by servers', 'aim'],
        rows,
        notes: [
          `${rounds} rounds of ${seconds} s, the variants in turns; ${figure(expected * 100)} % fail where every error is handed on`,
          'no endpoint gets a request again: of a service with two endpoints a GET is tried twice, and what fails at both comes back to the POST',
          'a failed POST is never tried again, since it may have done its work',
        ],
      },
    ],
    data: Object.fromEntries(measured),
  }
}
