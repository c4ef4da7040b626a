/** Nodes with Services that are reached from outside, by way of the setting external, and clients outside. */

import { curl, type Load } from '../../../../src/lab/clients.ts'
import type { Pod } from '../../../../src/lab/network.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { runIn } from '../../../../src/lab/processes.ts'
import type { ClientAddress } from '../../../../src/services/settings/clientaddress.ts'
import { type Endpoint, type ServiceOptions, serviceWith } from '../../manifests.ts'
import { untilOpenInEnvoy } from '../connections.ts'
import { AgentLab } from '../lab.ts'

export interface ExternalAddresses extends ServiceOptions {
  readonly loadBalancerIPs?: readonly string[]
}

export const [outsider, outsider6, stranger] = ['172.30.0.1', 'fd00:30::1', '172.30.0.77'] as const

/** A node of two, one pod of the Service on each, a client pod, and clients outside at two addresses. */
export async function buildExternalLab(clientAddress: ClientAddress) {
  const more = ['--client-address', clientAddress]
  const lab = await AgentLab.build({
    nodes: 2,
    flags: ['--detect-local-mode', 'NodeCIDR', ...more],
    bootstrapFlags: more,
  })
  const [near, client] = await lab.pods(['near', 'client'], 10)
  const far = await lab.pod('far', 10, 2)
  const outside = { netns: lab.network.fabric }
  const { address, address6 } = lab.node
  lab.writeNode()
  for (const ip of ['192.0.2.0/24', '2001:db8::/64']) {
    await runIn(outside.netns, 'ip', ['route', 'add', ip, 'via', ip.includes(':') ? address6 : address])
  }
  await runIn(outside.netns, 'ip', ['address', 'add', `${stranger}/24`, 'dev', 'fabric'])
  return { lab, near: near!, far, client: client!, outside }
}

export function write(lab: AgentLab, options: ExternalAddresses, endpoints: readonly Endpoint[]): void {
  const [object, ...slices] = serviceWith({ settings: { external: 'true' }, ...options }, endpoints)
  const ingress = (options.loadBalancerIPs ?? []).map(ip => ({ ip }))
  lab.write(options.name, [{ ...object, status: { loadBalancer: { ingress } } }, ...slices])
}

/** What the endpoint saw: who it is, its peer's address and X-Forwarded-For. */
export async function seen(from: Pick<RunningPod, 'netns'>, url: string, ...args: readonly string[]) {
  const { stdout } = await curl(from, [...args, url])
  const [, pod] = /^Hostname: (.*)$/m.exec(stdout) ?? []
  const [, peer] = /^RemoteAddr: \[?(.*?)\]?:\d+$/m.exec(stdout) ?? []
  const [, forwardedFor] = /^X-Forwarded-For: (.*)$/m.exec(stdout) ?? []
  return { pod, peer, forwardedFor }
}

/** Load over connections that stay, once Envoy has all of them: the second is made with the second request only. */
export async function keptLoad(lab: AgentLab, from: Pod, url: string): Promise<Load> {
  const connections = 2
  const load = await lab.load(from, { url, connections, rate: 50 })
  const { hostname, port } = new URL(url)
  await untilOpenInEnvoy(lab, `${hostname}:${port || 80}`, connections)
  return load
}

/** Who answers, until both pods have, or so often that none of two is left out by chance. */
export async function answers(lab: AgentLab, from: Pick<RunningPod, 'netns'>, url: string): Promise<readonly string[]> {
  const found = new Set<string>()
  for (let n = 0; n < 40 && found.size < 2; n++) found.add(await lab.ask(from, url))
  return [...found].sort()
}

export const web: ExternalAddresses = {
  name: 'web',
  vips: ['10.96.9.1', 'fd00:96:9::1'],
  ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30_080 }],
  spec: {
    type: 'LoadBalancer',
    externalIPs: ['192.0.2.8'],
    loadBalancerSourceRanges: [`${outsider}/32`, `${outsider6}/128`, '10.0.0.0/8', 'fd00:244::/32'],
  },
  loadBalancerIPs: ['192.0.2.7', '2001:db8::7'],
}

export const local: ExternalAddresses = {
  name: 'local',
  vips: ['10.96.9.2', 'fd00:96:9::2'],
  ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30_081 }],
  spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local' },
  loadBalancerIPs: ['192.0.2.9', '2001:db8::9'],
}

/** Starts agent and Envoy with both Services. */
export async function startWithServices(lab: AgentLab, endpoints: readonly Endpoint[]): Promise<void> {
  write(lab, web, endpoints)
  write(lab, local, endpoints)
  await lab.start()
}
