/**
 * What everybody else on a node notices while one tenant takes what it can (src/demo/greedy): how long requests to another's
 * Service take and how many fail, and how long a change of another's endpoints takes, against the same node at rest.
 */

import { join } from 'node:path'
import { setFault, startLoad } from '../../src/lab/clients.ts'
import { greedyChanges, greedyServices, modestService, modestVip } from '../../src/lab/greedy/objects.ts'
import { startGreedyClient } from '../../src/lab/greedy/start.ts'
import type { LoadReport } from '../../src/lab/load-report.ts'
import type { LabNode, Network } from '../../src/lab/network.ts'
import { startPod } from '../../src/lab/pods.ts'
import { pause } from '../../src/lab/wait.ts'
import { writeObjects } from '../lab/generate.ts'
import { memoryOf } from '../lab/node.ts'
import { requestOf, shareOut } from '../lab/weights.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, p } from '../runner/statistics.ts'
import { type Change, change } from './change.ts'
import { type Fleet, sourceOf } from './scale.ts'

interface Phase {
  readonly load: LoadReport
  /** The same requests to the address of the Service's pod: what the machine itself costs them. */
  readonly floor: LoadReport
  readonly changes: readonly Change[]
}

const betweenMs = 200
const settleMs = 3000
const mostChangeMs = 200
/** What a request of a pod's container for CPU is here, in thousandths of a core. */
const podMilliCpu = 100
/** So many connections that no request waits for a free one: that wait would be counted, too, and grow without end. */
const steady = { connections: 64, rate: 100 }

/** @param turns how often everything changes, at rest and under attack */
export async function measureFairShare(network: Network, fleet: Fleet, turns: number): Promise<Report> {
  const directory = sourceOf(network, fleet.node)
  const write = (name: string, objects: readonly object[]) => writeObjects(join(directory, `${name}.json`), objects)
  const { client, floorClient, greedyClient, greedy, web } = await pods(network, fleet.node)
  await setFault(greedy, 8080, 500)
  write('modest', modestService([web]))
  await pause(settleMs)

  const containers = [
    { name: 'agent', milliCpu: requestOf('node', 'node'), pids: [fleet.agent.process.pid] },
    { name: 'envoy', milliCpu: requestOf('proxy', 'envoy'), pids: [fleet.envoy.pid] },
    { name: 'web', milliCpu: podMilliCpu, pids: [web.server.pid] },
    { name: 'greedy', milliCpu: podMilliCpu, pids: [greedy.server.pid] },
  ]
  const phase = async (everyTurn: (turn: number) => void, attackers: readonly number[] = []): Promise<Phase> => {
    const load = await startLoad(network, client, { url: `http://${modestVip}/`, ...steady })
    const floor = await startLoad(network, floorClient, { url: `http://${web.ip}:8080/`, ...steady })
    const undo = await shareOut([
      ...containers,
      { name: 'client', milliCpu: podMilliCpu, pids: [load.pid] },
      { name: 'floor-client', milliCpu: podMilliCpu, pids: [floor.pid] },
      { name: 'greedy-client', milliCpu: podMilliCpu, pids: attackers },
    ])
    if (!undo) throw new Error('this machine has no cgroups for CPU: mount them, as a kubelet needs them, too')
    try {
      const changes: Change[] = []
      for (let turn = 0; turn < turns; turn++) {
        everyTurn(turn)
        await pause(betweenMs)
        changes.push(await change(fleet, 'replace'))
      }
      return { load: await load.stop(), floor: await floor.stop(), changes }
    } finally {
      await undo()
    }
  }
  const writeAll = (files: Readonly<Record<string, readonly object[]>>) => {
    for (const [name, objects] of Object.entries(files)) write(name, objects)
  }
  const rest = await phase(() => {})
  writeAll(greedyServices(greedy))
  const attack = await startGreedyClient(network, greedyClient)
  const attacked = await phase(turn => writeAll(greedyChanges(turn, greedy)), [attack.pid])
  await attack.stop()
  return report(rest, attacked, fleet, turns)
}

async function pods(network: Network, { name }: LabNode) {
  const number = name.replace(/\D+/, '')
  const start = (pod: string, host: number) =>
    startPod(network, {
      name: pod,
      node: name,
      addresses: [`10.244.${number}.${host}`, `fd00:244:${number}::${host}`],
      http: [8080],
      tcp: [],
      udp: [],
    })
  return {
    client: await start('client', 201),
    greedyClient: await start('greedy-client', 202),
    greedy: await start('greedy', 203),
    web: await start('web', 204),
    floorClient: await start('floor-client', 205),
  }
}

function report(rest: Phase, attacked: Phase, { agent, envoy }: Fleet, turns: number): Report {
  const both = (
    what: string,
    of: (phase: Phase) => number,
    unit: string,
    aims: (at: number, under: number) => string,
  ) => {
    const [at, under] = [of(rest), of(attacked)]
    return [what, `${figure(at)} ${unit}`, `${figure(under)} ${unit}`, figure(under / at), aims(at, under)]
  }
  const latency = (to: 'load' | 'floor', which: 'p50' | 'p99') => (phase: Phase) =>
    phase[to].latencyMs?.[which] ?? Number.NaN
  const took = (layer: 'kernel' | 'envoy', percent: number) => (phase: Phase) =>
    p(
      phase.changes.map(change => change[layer]),
      percent,
    )
  const none = () => ''
  const failed = ({ load }: Phase) => String(load.requests - load.ok)
  const change99 = (_: number, under: number) => aim(`≤ ${mostChangeMs} ms`, under <= mostChangeMs)
  return {
    title: 'Fair share: what others notice while one tenant takes what it can',
    header: ['', 'at rest', 'under attack', 'ratio', 'aim'],
    rows: [
      both("another's request, p50", latency('load', 'p50'), 'ms', none),
      both('  p99', latency('load', 'p99'), 'ms', (at, under) => aim('ratio ≤ 2', under <= 2 * at)),
      both("  to its pod's address, p50", latency('floor', 'p50'), 'ms', none),
      both('  p99', latency('floor', 'p99'), 'ms', none),
      ['  failed', failed(rest), failed(attacked), '', aim('0', failed(attacked) === '0')],
      both("another's change in the kernel, p50", took('kernel', 50), 'ms', none),
      both('  p99', took('kernel', 99), 'ms', change99),
      both("another's change in Envoy, p50", took('envoy', 50), 'ms', none),
      both('  p99', took('envoy', 99), 'ms', change99),
      ['agent, most memory', '', `${figure(memoryOf(agent.process).peak)} MB`, '', ''],
      ['Envoy, most memory', '', `${figure(memoryOf(envoy).peak)} MB`, '', ''],
    ],
    notes: [
      `${turns} changes at rest and as many under attack, with 100 requests a second meanwhile`,
      `all are on the same cores, with the weights of their CPU requests: agent and Envoy as in deploy/, each pod ${podMilliCpu}m`,
    ],
    data: { rest, attacked },
  }
}
