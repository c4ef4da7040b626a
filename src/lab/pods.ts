/** Runs pods with their servers. */

import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PodPlan } from '../demo/examples.ts'
import type { Network, Pod } from './network.ts'
import type { Child } from './processes.ts'

export interface RunningPod extends Pod {
  readonly server: Child
}

const program = fileURLToPath(new URL('./pod-server.ts', import.meta.url))
const smallHeap = ['--max-old-space-size=64', '--max-semi-space-size=1', '--v8-pool-size=1']

/** Adds the pod to the network, at the addresses of the plan, and waits until its server listens. */
export async function startPod(network: Network, plan: PodPlan): Promise<RunningPod> {
  const pod = await network.addPod(plan.node, plan.name, { host: hostNumber(plan) })
  const elsewhere = plan.addresses.find(address => address !== pod.ip && address !== pod.ip6)
  if (elsewhere)
    throw new Error(`pod ${plan.name}: ${elsewhere} is no address of ${plan.node}; there it is ${pod.ip}, ${pod.ip6}`)
  return { ...pod, server: await startServer(network, pod, plan) }
}

export type Ports = Partial<Pick<PodPlan, 'http' | 'tcp' | 'udp'>>

/** Starts the servers of a pod (pod-server.ts); resolves when they listen. */
export async function startServer(
  network: Network,
  pod: Pod,
  { http = [], tcp = [], udp = [] }: Ports,
): Promise<Child> {
  const flags = Object.entries({ http, tcp, udp }).flatMap(([kind, ports]) =>
    ports.flatMap(port => [`--${kind}`, `${port}`]),
  )
  const server = await network.processes.spawnIn(
    pod.netns,
    process.execPath,
    [...smallHeap, program, '--name', pod.name, ...flags],
    { logFile: `${network.directory}/${pod.name}.log`, pipeStdout: true },
  )
  const ready = once(server.stdout!, 'data')
  const ended = server.exited.then(({ code, signal }) => {
    throw new Error(
      `pod ${pod.name}: its server ended at once (${signal ?? code}); see ${network.directory}/${pod.name}.log`,
    )
  })
  await Promise.race([ready, ended])
  ended.catch(() => undefined)
  return server
}

function hostNumber({ name, addresses }: PodPlan): number {
  const host = Number(/(?:\.|::)(\d+)$/.exec(addresses[0] ?? '')?.[1])
  if (!host) throw new Error(`pod ${name}: no address such as 10.244.1.11 or fd00:244:1::11`)
  return host
}
