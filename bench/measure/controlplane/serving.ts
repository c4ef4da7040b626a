/**
 * One control plane for many nodes: what it costs it that all connect at once, and that endpoints change all the time, and how soon
 * each change is told to all. One of the nodes has a real agent with a real kernel layer; the others are simulated (fleet.ts).
 */

import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network } from '../../../src/lab/network.ts'
import { pause, waitFor } from '../../../src/lab/wait.ts'
import { ControlPlane } from '../../lab/control-plane.ts'
import { type CpuTimes, cpuSince, readCpu } from '../../lab/cpu.ts'
import { Cluster, type Size } from '../../lab/generate.ts'
import { memoryOf, type RunningAgent, startAgent } from '../../lab/node.ts'
import type { Findings } from '../../runner/experiment.ts'
import { type Change, churn, delaysOf, replaceOne } from './changes.ts'
import { type Fleet, giveAddresses, startFleet, type Told } from './fleet.ts'
import { flagsFor, type Replica, startReplica } from './replica.ts'
import type { Connecting, Propagation, ServingOptions } from './serving-data.ts'
import { reportServing } from './serving-report.ts'
import { createAccount, createNodes, requestToken } from './tokens.ts'

const settleMs = 5000
const limitMs = 180_000

export async function measureServing(network: Network, options: ServingOptions): Promise<Findings> {
  const [home, agentNode, fleetNode] = network.nodes as readonly [LabNode, LabNode, LabNode]
  const plane = await ControlPlane.start(network, { netns: network.fabric, address: '172.30.0.1' })
  const cluster = new Cluster(options)
  await plane.load(cluster, [])
  await createAccount(plane)
  const names = Array.from({ length: options.agents }, (_, index) => `node${100 + index}`)
  const tokens = await createNodes(plane, names)
  await giveAddresses(fleetNode, [home])

  const connecting: Connecting[] = []
  let running: { readonly replica: Replica; readonly fleet: Fleet } | undefined
  for (let round = 0; round < options.rounds; round++) {
    await running?.fleet.stop()
    await running?.replica.process.stop()
    const replica = await startReplica(network, home, plane.kubeconfig)
    await pause(settleMs)
    const groups = { controlPlane: [replica.process.pid], apiServer: plane.pids }
    const [before, cpuBefore] = [memoryOf(replica.process), readCpu(groups)]
    const fleet = await startFleet(network, fleetNode, replica, tokens)
    const clients = readCpu({ clients: [fleet.pid] })
    const cpu = { ...clients, ...cpuSince(groups, cpuBefore) }
    checkTold(fleet.told, options)
    await pause(settleMs)
    connecting.push({ told: fleet.told, started: replica.started, before, after: memoryOf(replica.process), cpu })
    running = { replica, fleet }
  }
  const { replica, fleet } = running!
  const agent = await startRealAgent(network, agentNode, plane, replica)
  const changes = new Changes(plane, cluster, agent)
  const single = await changes.single(options.single)
  await pause(settleMs)
  const groups = { controlPlane: [replica.process.pid], clients: [fleet.pid], apiServer: plane.pids }
  const before = readCpu(groups)
  const began = performance.now()
  const many = await changes.churn(options.churn)
  const seconds = (performance.now() - began) / 1000
  const cpu = perSecond(cpuSince(groups, before), seconds)
  const memory = memoryOf(replica.process)
  await pause(settleMs)
  const programmed = changes.programmed()
  const arrivals = await fleet.stop()
  if (arrivals.retries > fleet.told.retries) throw new Error('streams ended while they were served')
  const told = (its: readonly Change[]): Propagation => ({
    ...delaysOf(its, arrivals, options.agents),
    kernel: its.map(({ port, at }) => (programmed.get(port) ?? Number.POSITIVE_INFINITY) - at),
  })
  const busy = { ...told(many), rate: many.length / seconds, memory, cpu }
  return reportServing({ connecting, single: told(single), churn: busy }, options)
}

function perSecond(times: CpuTimes, seconds: number): CpuTimes {
  return Object.fromEntries(Object.entries(times).map(([name, value]) => [name, value / seconds]))
}

/** @throws Error where anybody lacks something */
function checkTold({ resources, alike }: Told, { services }: Size): void {
  // The Service of the API server itself has no EndpointSlice here.
  if (!alike || resources.Service !== services + 1 || resources.EndpointSlice !== services)
    throw new Error(
      `agents were told of ${JSON.stringify(resources)}${alike ? '' : ', and of other things than others'}`,
    )
}

/** Resolves when everything is in its kernel layer. */
async function startRealAgent(
  network: Network,
  node: LabNode,
  plane: ControlPlane,
  replica: Replica,
): Promise<RunningAgent> {
  const token = join(network.directory, `${node.name}-token`)
  writeFileSync(token, await requestToken(plane, node.name))
  const agent = await startAgent(network, node, [...flagsFor(replica, token), '--kubeconfig', plane.kubeconfig])
  await waitFor('the real agent', limitMs, () => agent.log.take().some(({ msg }) => msg === 'synchronised'))
  await pause(settleMs)
  return agent
}

class Changes {
  readonly #plane: ControlPlane
  readonly #cluster: Cluster
  readonly #agent: RunningAgent
  #next: number

  constructor(plane: ControlPlane, cluster: Cluster, agent: RunningAgent) {
    this.#plane = plane
    this.#cluster = cluster
    this.#agent = agent
    this.#next = randomInt(cluster.size.services)
  }

  /** One after the other, each after a pause that is not a multiple of anything. */
  async single(count: number): Promise<readonly Change[]> {
    const changes: Change[] = []
    for (let index = 0; index < count; index++) {
      changes.push(await replaceOne(this.#plane, this.#cluster, this.#take(1)))
      await pause(randomInt(100, 200))
    }
    return changes
  }

  churn({ rate, seconds }: ServingOptions['churn']): Promise<readonly Change[]> {
    return churn(this.#plane, this.#cluster, { rate, seconds, first: this.#take(rate * seconds) })
  }

  /** When each port was programmed last in the real agent's kernel layer, milliseconds since the epoch. */
  programmed(): ReadonlyMap<string, number> {
    const lines = this.#agent.log.take().filter(({ layer, msg }) => layer === 'kernel' && msg === 'programmed')
    return new Map(
      lines.flatMap(({ at, milliseconds }) => Object.keys(milliseconds as object).map(id => [id, at] as const)),
    )
  }

  #take(count: number): number {
    const first = this.#next
    this.#next = (first + count) % this.#cluster.size.services
    return first
  }
}
