/**
 * What Envoy costs a node that calls few of a cluster's Services: one node whose Envoy has what is called (the default), one
 * whose Envoy has all, in turns.
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addressPortBytes } from '../../src/kernel/nftables/bytes.ts'
import { Nftables } from '../../src/kernel/nftables/client.ts'
import { frontendKey } from '../../src/kernel/nftables/elements/ownobjects.ts'
import { netnsPath } from '../../src/lab/leftovers.ts'
import type { Network, Pod } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import { pause, waitFor } from '../../src/lab/wait.ts'
import { type Size, serviceObjects, writeObjects } from '../lab/generate.ts'
import { cpuTime, envoyCommand, memoryOf, programmedIn, runInOrThrow } from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, median, p, spread } from '../runner/statistics.ts'
import { build, type Fleet, remove, sourceOf } from './scale.ts'

export interface UseOptions {
  readonly rounds: number
  /** How many Services are called. */
  readonly called: number
  /** How many ports Envoy may have on the node where use decides. */
  readonly budget: number
  /** How long the programs are left alone before their memory is read. */
  readonly settleMs: number
  /** How long Envoy's work at rest is watched. */
  readonly restMs: number
}

/** Of one node in one round. */
interface Measured {
  /** MB. */
  readonly envoyMemory: number
  readonly agentMemory: number
  /** From the first call until a new connection comes to Envoy, milliseconds. */
  readonly first: readonly number[]
  /** Thousandths of a core. */
  readonly rest: number
  /** From the start of Envoy until all called ports are in it, seconds. */
  readonly restart: number
  /** Of a Service of 5,000 endpoints: MB of Envoy's memory, and those changes of it that Envoy hears of. */
  readonly large: { readonly memory: number; readonly changes: readonly Change[] }
}

/** From a change's arrival, milliseconds. */
interface Change {
  readonly kernel: number
  /** Until Envoy's acknowledgement. */
  readonly envoy: number
}

type Mode = 'byUse' | 'all'

const limitMs = 180_000
const largeEndpoints = 5000
/** The memory of one is too little to be told from what Envoy takes in between. */
const largeServices = 5
const largeChanges = 15
/** How long a change may take to Envoy, which of a part of the endpoints hears now and then only. */
const changeMs = 3000
const client = fileURLToPath(new URL('../programs/use-client.ts', import.meta.url))

export async function measureUse(network: Network, size: Size, options: UseOptions): Promise<Report> {
  const flags: Readonly<Record<Mode, readonly string[]>> = {
    byUse: ['--envoy-ports', String(options.budget)],
    all: ['--envoy-ports', 'all', '--envoy-endpoints-per-port', '0'],
  }
  const measured: Record<Mode, Measured[]> = { byUse: [], all: [] }
  const pods = await Promise.all(network.nodes.map(({ name }) => network.addPod(name, `client-${name}`)))
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, mode] of (['byUse', 'all'] as const).entries()) {
      const node = network.nodes[index]!
      const fleet = await build(network, node, size, flags[mode])
      const { envoy, ...found } = await measure({ network, fleet, pod: pods[index]!, mode, size, options })
      measured[mode].push(found)
      await remove(network, { ...fleet, envoy })
    }
  }
  return report(measured, size, options)
}

interface Subject {
  readonly network: Network
  readonly fleet: Fleet
  readonly pod: Pod
  readonly mode: Mode
  readonly size: Size
  readonly options: UseOptions
}

/** With the Envoy that runs then. */
async function measure({ network, fleet, pod, mode, size, options }: Subject): Promise<Measured & { envoy: Child }> {
  const { node, agent, manifests } = fleet
  const { called, settleMs, restMs } = options
  const nft = new Nftables(netnsPath(node.netns))
  try {
    const frontends = Array.from({ length: called }, (_, number) =>
      manifests.cluster.frontend(Math.floor((number * size.services) / called)),
    )
    const inOverlay = async () => (await nft.keys('ip', 'envoy')) ?? []
    await waitFor('all Services in the kernel', limitMs, async () => {
      return (await nft.keys('ip', 'services'))?.length === size.services
    })
    if (mode === 'all')
      await waitFor('all Services in Envoy', limitMs, async () => (await inOverlay()).length === size.services)
    else
      await waitFor('Envoy', limitMs, () =>
        agent.log.take().some(({ msg }) => msg === 'connections of pods reach Envoy'),
      )
    const first = JSON.parse(
      await runInOrThrow(pod.netns, process.execPath, [client], JSON.stringify(frontends)),
    ) as readonly number[]
    await pause(settleMs)
    const memory = { envoyMemory: memoryOf(fleet.envoy).rss, agentMemory: memoryOf(agent.process).rss }
    const before = cpuTime(fleet.envoy)
    await pause(restMs)
    const rest = (cpuTime(fleet.envoy) - before) / 1e6 / (restMs / 1000)
    const large = await measureLarge(network, { ...fleet, nft }, pod, settleMs)
    await fleet.envoy.stop()
    await waitFor('the end of Envoy', limitMs, async () => (await inOverlay()).length === 0)
    // What prints the bootstrap is another program, whose start does not count.
    const [program = '', ...args] = await envoyCommand(network, node, 2)
    const began = performance.now()
    const envoy = await network.processes.spawnIn(node.netns, program, args, { logFile: `${node.netns}-envoy.log` })
    const keys = frontends.map(addressPortBytes)
    await waitFor('all called ports', limitMs, async () => {
      const there = new Set(await inOverlay())
      return keys.every(key => there.has(key))
    })
    return { ...memory, first, rest, large, restart: (performance.now() - began) / 1000, envoy }
  } finally {
    nft.close()
  }
}

const largeVip = (service: number) => `10.111.0.${service + 1}`

async function measureLarge(
  network: Network,
  { node, agent, envoy, nft }: Fleet & { readonly nft: Nftables },
  pod: Pod,
  settleMs: number,
): Promise<Measured['large']> {
  // Each change replaces the next pod by one with an address that none had.
  const write = (service: number, changes: number) => {
    const endpoints = Array.from({ length: largeEndpoints }, (_, index) => {
      const number = index < changes ? largeEndpoints + index : index
      return { ip: `10.${200 + service}.${number >> 8}.${number & 255}`, port: 8080 }
    })
    const objects = serviceObjects(`large-${service}`, 'http', largeVip(service), endpoints)
    writeObjects(join(sourceOf(network, node), `large-${service}.json`), objects)
  }
  const services = Array.from({ length: largeServices }, (_, service) => service)
  const before = memoryOf(envoy).rss
  for (const service of services) write(service, 0)
  const keys = services.map(service => frontendKey(largeVip(service), 'tcp', 80))
  await waitFor('the large Services', limitMs, async () => {
    const there = await nft.keys('ip', 'services')
    return keys.every(key => there?.includes(key))
  })
  const frontends = services.map(service => ({ ip: largeVip(service), port: 80 }))
  await runInOrThrow(pod.netns, process.execPath, [client], JSON.stringify(frontends))
  await pause(settleMs)
  const memory = (memoryOf(envoy).rss - before) / largeServices
  const changes: Change[] = []
  for (let change = 1; change <= largeChanges; change++) {
    agent.log.take()
    write(0, change)
    const seen: { kernel?: number; envoy?: number } = {}
    const look = () => {
      for (const line of agent.log.take()) {
        const took = programmedIn(line, 'bench/large-0/http')
        if (took !== undefined) seen[line.layer as 'kernel' | 'envoy'] = took
      }
      return seen
    }
    await waitFor('the change in the kernel', limitMs, () => look().kernel !== undefined, 5)
    await waitFor('the change in Envoy', changeMs, () => look().envoy !== undefined, 5).catch(() => {})
    const { kernel, envoy } = seen
    if (kernel !== undefined && envoy !== undefined) changes.push({ kernel, envoy })
  }
  return { memory, changes }
}

function report(measured: Readonly<Record<Mode, readonly Measured[]>>, size: Size, options: UseOptions): Report {
  const of = (mode: Mode, pick: (one: Measured) => number) => median(measured[mode].map(pick))
  type Aim = (byUse: number, all: number) => string
  const row = (what: string, unit: string, pick: (one: Measured) => number, aims: Aim = () => '') => {
    const [byUse, all] = [of('byUse', pick), of('all', pick)]
    const cells = [measured.byUse, measured.all].map(its => `${spread(its.map(pick))} ${unit}`)
    return [what, ...cells, figure(byUse / all), aims(byUse, all)]
  }
  const atMost = (most: number, unit: string): Aim => {
    return byUse => aim(`≤ ${most} ${unit}`, byUse <= most)
  }
  const aPart = (part: number): Aim => {
    return (byUse, all) => aim(`ratio ≤ ${part}`, byUse <= part * all)
  }
  const first = (percent: number) => {
    const value = p(
      measured.byUse.flatMap(one => one.first),
      percent,
    )
    return { value, text: `${figure(value)} ms` }
  }
  return {
    title: `Use: ${size.services.toLocaleString('en')} Services of ${size.endpoints} endpoints, of which the node calls ${options.called}`,
    header: ['', `--envoy-ports ${options.budget}`, '--envoy-ports all', 'ratio', 'aim'],
    rows: [
      row('Envoy memory (RSS), settled', 'MB', one => one.envoyMemory, atMost(100, 'MB')),
      row('agent memory (RSS), settled', 'MB', one => one.agentMemory, atMost(150, 'MB')),
      row('Envoy started anew: all called ports in it after', 's', one => one.restart, atMost(1.5, 's')),
      ['first call until a new connection comes to Envoy, p50', first(50).text, '–', '', ''],
      ['  p99', first(99).text, '–', '', aim('≤ 1,000 ms', first(99).value <= 1000)],
      row("Envoy's CPU at rest, thousandths of a core", '', one => one.rest, aPart(0.1)),
      row(
        `a Service of ${largeEndpoints.toLocaleString('en')} endpoints: memory of Envoy`,
        'MB',
        one => one.large.memory,
        aPart(0.2),
      ),
      row(
        '  a pod replaced until Envoy has it, p50',
        'ms',
        one => median(one.large.changes.map(({ envoy }) => envoy)),
        aPart(0.2),
      ),
      row('  of that after the kernel layer has it, p50', 'ms', one =>
        median(one.large.changes.map(({ kernel, envoy }) => Math.max(0, envoy - kernel))),
      ),
      row(`  of ${largeChanges} changes Envoy hears of`, '', one => one.large.changes.length),
    ],
    notes: [
      `medians of ${options.rounds} rounds, the nodes in turns; of a Service of many endpoints Envoy has 1,000 or all, and ${largeServices} of them are measured`,
    ],
    data: { size, options, measured },
  }
}
