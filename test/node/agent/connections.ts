/** Open connections of a lab, as the sockets of its nodes and pods show them, and what Envoy has for them. */

import { join } from 'node:path'
import type { Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import type { AgentLab } from './lab.ts'

/** Counts established connections, by a filter of ss such as `src 10.96.0.10`. */
export async function countOpen({ netns }: Pick<Pod, 'netns'>, filter: string): Promise<number> {
  const { stdout } = await runIn(netns, 'ss', ['-Htn', 'state', 'established', filter])
  return stdout.split('\n').filter(line => line !== '').length
}

/** Waits until Envoy has so many connections to a VIP, or a VIP:port: a socket that TPROXY found has the VIP as its own address. */
export async function untilOpenInEnvoy(lab: AgentLab, vip: string, count: number): Promise<void> {
  await lab.until(
    `${count} connections to ${vip} in Envoy`,
    async () => (await countOpen(lab.node, `src ${vip}`)) >= count,
  )
}

/** Whether the first Envoy has a listener, or the entry of a shared one, for port 80 of this VIP. */
export async function isInEnvoy(lab: AgentLab, vip: string): Promise<boolean> {
  const socket = join(lab.envoySockets, 'admin-1.sock')
  const page = async (name: string) =>
    (await lab.on('curl', ['--silent', '--unix-socket', socket, `http://envoy/${name}`])).stdout
  const [listeners, configuration] = await Promise.all(['listeners', 'config_dump'].map(page))
  return listeners!.includes(vip) || configuration!.includes(`"string_key": "${vip}:80"`)
}
