import { fileURLToPath } from 'node:url'
import type { Network, Pod } from '../network.ts'
import type { Child } from '../processes.ts'

const program = fileURLToPath(new URL('./client.ts', import.meta.url))

/** Starts the pod's part of the attack. */
export function startGreedyClient(network: Network, pod: Pick<Pod, 'netns'>): Promise<Child> {
  return network.processes.spawnIn(pod.netns, process.execPath, [program], {})
}
