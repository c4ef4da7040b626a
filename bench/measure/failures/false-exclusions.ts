/** How often something is excluded that is not dead: rolling updates, packets that are lost, and endpoints that are overloaded. */

import { pause } from '../../../src/lab/wait.ts'
import { inNetwork } from '../../lab/in-network.ts'
import { runInOrThrow } from '../../lab/node.ts'
import { type OpenReport, startBenchServer, startOpenLoad } from '../../lab/programs.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { aim, figure } from '../../runner/statistics.ts'
import { type Endpoint, FailureLab, type Frontend, labNetwork } from './lab.ts'

export interface FalseExclusionsOptions {
  readonly minutes: number
}

const lostPercent = 5
const updateMs = 2000
/** An overloaded server stands still so long, then works as long. */
const stallMs = 3000
const leadMs = 2000
const controlMs = 8000
const endpointsPerNode = 2
const load = { rate: 100, connections: 300, timeout: '5s' } as const

interface Subject extends Frontend {
  readonly name: string
  readonly fresh: boolean
}

export async function measureFalseExclusions(run: Run, { minutes }: FalseExclusionsOptions): Promise<Findings> {
  const found = await run.step('all at once', () => inNetwork(network => measure(network, minutes), labNetwork))
  const row = ([what, { requests, failed }]: readonly [string, OpenReport]) => [what, figure(requests), String(failed)]
  return {
    tables: [
      {
        title: `${minutes} minutes of rolling updates, ${lostPercent} % of packets lost, overloaded endpoints`,
        header: ['', 'found', 'aim'],
        rows: [
          ['endpoints and nodes excluded', `${found.exclusions.length}`, aim('0', found.exclusions.length === 0)],
          ['endpoints replaced meanwhile', String(found.replaced), ''],
          ['times that an overloaded server stood still', String(found.stalls), ''],
          ['then a node dies: excluded after', secondsOf(found.controlSeconds), ''],
        ],
        notes: [
          `four nodes and two control planes; ${lostPercent} % of all packets between nodes are lost; an endpoint is replaced every ${updateMs / 1000} s; two servers with a backlog of four stand still for ${stallMs / 1000} s, again and again`,
        ],
      },
      {
        title: 'Requests meanwhile, 100 a second each',
        header: ['', 'requests', 'failed'],
        rows: Object.entries(found.reports).map(row),
        notes: ['a request has failed that has no answer within 5 s of when it was due'],
      },
    ],
    data: found,
  }
}

function secondsOf(seconds: number | undefined): string {
  return seconds === undefined ? `not within ${controlMs / 1000} s` : `${figure(seconds)} s`
}

async function measure(network: Parameters<typeof FailureLab.build>[0], minutes: number) {
  const lab = await FailureLab.build(network)
  let endpoints = [...(await lab.addEndpoints(endpointsPerNode))]
  const overloaded = await Promise.all(lab.nodes.slice(1, 3).map(node => addOverloaded(lab, node)))
  const subjects: Subject[] = [
    { name: 'web', fresh: false, ...(await lab.addService('leastRequest', 'web', endpoints)) },
    { name: 'raw', fresh: true, ...(await lab.addService('kernel', 'raw', endpoints)) },
    { name: 'busy', fresh: true, ...(await lab.addService('kernel', 'busy', [...overloaded, endpoints[0]!])) },
  ]
  const lasting = endpoints[0]!
  lab.exclusions()
  await lab.lose(lostPercent)
  const loads = await Promise.all(
    subjects.map(({ client, address, fresh }) =>
      startOpenLoad(network, client, { url: `http://${address}/`, seconds: minutes * 60, fresh, ...load }),
    ),
  )
  const end = Date.now() + minutes * 60_000
  let [replaced, stalls] = [0, 0]
  const stalling = (async () => {
    for (; Date.now() < end; stalls++) {
      for (const signal of ['SIGSTOP', 'SIGCONT'] as const) {
        for (const { server } of overloaded) server.kill(signal)
        await pause(stallMs)
      }
    }
  })()
  for (; Date.now() < end; replaced++) {
    endpoints = await replaceOne(lab, endpoints, lasting)
    await pause(updateMs)
  }
  await stalling
  const reports: Record<string, OpenReport> = {}
  for (const [index, { report }] of loads.entries()) reports[subjects[index]!.name] = await report
  const exclusions = lab.exclusions()
  await lab.lose(0)
  return {
    minutes,
    exclusions,
    replaced,
    stalls,
    reports,
    controlSeconds: await untilDeadIsExcluded(lab, subjects[0]!),
  }
}

/** Shows that exclusions are told at all. Suspicion comes of connections that are kept. */
async function untilDeadIsExcluded(lab: FailureLab, { client, address }: Subject): Promise<number | undefined> {
  const options = { url: `http://${address}/`, seconds: (leadMs + controlMs) / 1000, ...load }
  const { report } = await startOpenLoad(lab.bed.network, client, options)
  await pause(leadMs)
  await lab.drop(true)
  const died = Date.now()
  await pause(controlMs)
  const found = lab.exclusions().filter(({ of }) => of === 'node')
  await lab.drop(false)
  await report
  return found.length === 0 ? undefined : (Math.min(...found.map(({ at }) => at)) - died) / 1000
}

/** With a backlog that four connections fill. */
async function addOverloaded(lab: FailureLab, { name }: (typeof lab.nodes)[number]): Promise<Endpoint> {
  const [pod] = await lab.bed.addPods(name, [`overloaded-${name}`])
  await runInOrThrow(pod!.netns, 'sysctl', ['-q', 'net.core.somaxconn=4'])
  return { pod: pod!, server: await startBenchServer(lab.bed.network, pod!, { workers: 1, delay: '20ms' }) }
}

/** As a Deployment does: another one is ready first, then the oldest gets SIGTERM with the change of the slice. */
async function replaceOne(lab: FailureLab, endpoints: readonly Endpoint[], lasting: Endpoint): Promise<Endpoint[]> {
  const oldest = endpoints.find(one => one !== lasting)!
  const node = lab.nodes.find(({ name }) => name === oldest.pod.node)!
  const next = [...endpoints.filter(one => one !== oldest), await lab.addEndpoint(node)]
  const publish = (terminating: readonly Endpoint[]) =>
    Promise.all(['web', 'raw'].map(name => lab.publish(name, next, terminating)))
  await publish([oldest])
  await oldest.server.stop()
  await publish([])
  await lab.removeEndpoint(oldest)
  return next
}
