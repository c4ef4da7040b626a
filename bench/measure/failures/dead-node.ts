/** A node dies without a word: what of the requests to endpoints on it fails, and for how long, by Lightpath and by kube-proxy. */

import { pause } from '../../../src/lab/wait.ts'
import { inBuilt } from '../../lab/in-network.ts'
import { type OpenReport, startOpenLoad } from '../../lab/programs.ts'
import { variant } from '../../lab/variants.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { aim, figure, median, spread } from '../../runner/statistics.ts'
import { FailureLab, type Frontend, labNetwork } from './lab.ts'

export interface DeadNodeOptions {
  readonly rounds: number
  /** How long the node is dead, seconds. */
  readonly seconds: number
  /** After how long Kubernetes would take its endpoints away, seconds. */
  readonly noticedAfter: number
}

/** Each of 150 requests/s; connections are as many as requests can wait for their time-out. */
const loads = [
  { title: 'GETs on kept connections', of: 'envoy', name: 'web', fresh: false },
  { title: 'a TCP connection for each request', of: 'kernel', name: 'raw', fresh: true },
] as const
const load = { rate: 150, connections: 800, timeout: '5s' } as const
const endpointsPerNode = 2
const leadMs = 3000
const tailMs = 6000
const disturbingMs = 500
const most = { failed: 0, seconds: 3 } as const

interface Outcome {
  readonly requests: number
  readonly failed: number
  /** From the node's death until the last request was due that failed or waited for long, seconds. */
  readonly disturbed: number
  readonly longest: number
}

interface Round {
  /** By load and proxy. */
  readonly outcomes: Readonly<Record<string, Outcome>>
  /** From the node's death until a control plane excluded it, seconds. */
  readonly excluded: number
}

interface Subject extends Frontend {
  readonly key: string
  readonly fresh: boolean
}

export async function measureDeadNode(run: Run, options: DeadNodeOptions): Promise<Findings> {
  const rounds: Round[] = []
  const fresh: Round[] = []
  await inBuilt(labNetwork, build, async built => {
    for (let round = 0; round < options.rounds; round++) {
      rounds.push(await run.step(`round ${round + 1}`, async () => measure(await built(), options)))
      fresh.push(
        await run.step(`round ${round + 1}, new connections only`, async () =>
          measure(onlyFresh(await built()), options),
        ),
      )
    }
  })
  return { tables: [table(rounds, fresh, options)], data: { options, rounds, fresh } }
}

/** Nothing that Envoy or a kept connection notices tells of the dead node then. */
function onlyFresh(built: Built): Built {
  return { ...built, subjects: built.subjects.filter(({ fresh }) => fresh) }
}

type Built = Awaited<ReturnType<typeof build>>

async function build(network: Parameters<typeof FailureLab.build>[0]) {
  const lab = await FailureLab.build(network)
  const endpoints = await lab.addEndpoints(endpointsPerNode)
  const subjects: Subject[] = []
  for (const { of, name, fresh } of loads) {
    for (const id of ['nftables', of === 'envoy' ? 'leastRequest' : 'kernel'] as const) {
      const key = keyOf(name, variant(id).proxy)
      subjects.push({ key, fresh, ...(await lab.addService(id, key, endpoints)) })
    }
  }
  return { lab, endpoints, subjects }
}

async function measure(
  { lab, endpoints, subjects }: Built,
  { seconds, noticedAfter }: DeadNodeOptions,
): Promise<Round> {
  lab.exclusions()
  const all = (leadMs + tailMs) / 1000 + seconds
  const reports = await Promise.all(
    subjects.map(({ client, address, fresh }) =>
      startOpenLoad(lab.bed.network, client, { url: `http://${address}/`, seconds: all, fresh, ...load }),
    ),
  )
  await pause(leadMs)
  await lab.drop(true)
  const died = Date.now()
  const living = endpoints.filter(({ pod }) => pod.node !== lab.dead.name)
  await pause(Math.min(seconds, noticedAfter) * 1000)
  const publish = (some: typeof endpoints) => Promise.all(subjects.map(({ key }) => lab.publish(key, some)))
  if (seconds > noticedAfter) {
    await publish(living)
    await pause((seconds - noticedAfter) * 1000)
  }
  const found = lab.exclusions().filter(({ of }) => of === 'node')
  await lab.drop(false)
  await publish(endpoints)
  const outcomes: Record<string, Outcome> = {}
  for (const [index, { report }] of reports.entries()) outcomes[subjects[index]!.key] = outcomeOf(await report, died)
  await lab.untilNothingExcluded()
  if (found.length === 0) throw new Error(`${lab.dead.name} was not excluded`)
  return { outcomes, excluded: (Math.min(...found.map(({ at }) => at)) - died) / 1000 }
}

function outcomeOf({ requests, failed, max, series, began }: OpenReport, died: number): Outcome {
  const last = series.findLastIndex(moment => moment.failed > 0 || moment.max > disturbingMs)
  const disturbed = last < 0 ? 0 : Math.max(0, (began + (last + 1) * 100 - died) / 1000)
  return { requests, failed, disturbed, longest: max }
}

function keyOf(name: string, proxy: string): string {
  return `${name}-${proxy}`
}

function table(together: readonly Round[], alone: readonly Round[], { seconds, noticedAfter }: DeadNodeOptions) {
  const measured = [
    ...loads.map(kind => ({ kind, title: kind.title, rounds: together })),
    ...loads
      .filter(({ fresh }) => fresh)
      .map(kind => ({ kind, title: `${kind.title}, and nothing else`, rounds: alone })),
  ]
  const rows = measured.flatMap(({ kind: { name, fresh }, title, rounds }) =>
    (['nftables', 'lightpath'] as const).map(proxy => {
      const its = rounds.map(({ outcomes }) => outcomes[keyOf(name, proxy)]!)
      const [failed, disturbed] = [its.map(one => one.failed), its.map(one => one.disturbed)]
      const goal = fresh
        ? aim(`≤ ${most.seconds} s`, median(disturbed) <= most.seconds)
        : aim(`${most.failed} failed`, Math.max(...failed) <= most.failed)
      return [
        `${title}, ${proxy === 'lightpath' ? 'Lightpath' : 'kube-proxy'}`,
        figure(median(its.map(({ requests }) => requests))),
        spread(failed),
        `${spread(disturbed)} s`,
        `${spread(its.map(({ longest }) => longest))} ms`,
        proxy === 'lightpath' ? goal : '',
      ]
    }),
  )
  const noticed =
    seconds > noticedAfter
      ? `after ${noticedAfter} s, when Kubernetes would, its endpoints are taken away`
      : 'nobody takes its endpoints away meanwhile: Kubernetes would after about 50 s'
  const count = together.length === 1 ? 'one round' : `${together.length} rounds`
  const [withGets, without] = [together, alone].map(rounds => spread(rounds.map(({ excluded }) => excluded)))
  return {
    title: `One of four nodes loses all its packets for ${seconds} s, under ${load.rate} requests/s of each kind by each proxy`,
    header: ['', 'requests', 'failed', 'the last that failed or waited', 'longest', 'aim'],
    rows,
    notes: [
      `${count}; the control planes exclude the node after ${withGets} s, ${without} s where nothing tells of it but new connections; ${noticed}`,
      `a request has failed that has no answer within 5 s of when it was due; waited: for more than ${disturbingMs} ms; counted from the node's death to when the last such request was due`,
      'a quarter of the endpoints are on the node; GETs by Lightpath go through Envoy, the others by its kernel layer; clients of kube-proxy are on a node of their own',
    ],
  }
}
