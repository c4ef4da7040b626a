/** The pod network: which CNI, bridged or routed, encrypted or not. */

import { readdir, readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import type { Link } from '../kernel/netlink/route/links.ts'
import { hasIpsecPolicies } from '../kernel/netlink/xfrm.ts'
import { findObstacle, readLinks, readPodNetwork } from '../kernel/system/routing/podnetwork.ts'
import { someOf } from '../text/some.ts'
import { type Check, fails, ok, warning } from './check.ts'
import { textOf } from './output.ts'

export async function checkNetwork(cniDirectory: string): Promise<readonly Check[]> {
  const links = readLinks()
  const bridgeCalls = await textOf('/proc/sys/net/bridge/bridge-nf-call-iptables')
  return [
    await checkCni(cniDirectory, links),
    checkPodNetwork(links, bridgeCalls),
    checkClientAddress(),
    checkEncryption(links, hasIpsecPolicies()),
  ]
}

async function checkCni(directory: string, links: readonly Link[]): Promise<Check> {
  const files = (await readdir(directory).catch(() => [])).filter(file => /\.(conf|conflist|json)$/.test(file)).sort()
  const [first] = files
  if (first === undefined) return warning('CNI', `no configuration in ${directory}`, 'run this on a node, as root')
  const types = await readFile(join(directory, first), 'utf8').then(cniTypes, (): readonly string[] => [])
  const isCilium = types.includes('cilium-cni') || links.some(({ name }) => name === 'cilium_host')
  const found = `${types.join(', ') || 'unreadable'} (${first})`
  if (!isCilium) return ok('CNI', found)
  const remedy =
    'Cilium balances before netfilter sees a packet where its kube-proxy replacement or socket LB is on; switch both off, or these Services never come to Lightpath'
  return warning('CNI', found, remedy)
}

function checkClientAddress(): Check {
  const name = '--client-address auto'
  try {
    const obstacle = findObstacle(release(), readPodNetwork())
    return ok(name, obstacle === undefined ? 'would be preserve' : `would be forwarded-for: ${obstacle}`)
  } catch (error) {
    return ok(name, `would be forwarded-for: ${(error as Error).message}`)
  }
}

/** `type` of each plugin of a configuration, or of the only one. */
export function cniTypes(text: string): readonly string[] {
  try {
    const { type, plugins = [] } = JSON.parse(text) as { type?: string; plugins?: readonly { type?: string }[] }
    return [...(type === undefined ? [] : [type]), ...plugins.flatMap(plugin => plugin.type ?? [])]
  } catch {
    return []
  }
}

/**
 * On a bridge pods of one node answer each other without passing the node's hooks, unless bridge-nf-call-iptables is
 * on: then nothing turns translated replies back, for kube-proxy either.
 */
export function checkPodNetwork(links: readonly Link[], bridgeCalls: string | undefined): Check {
  const isVeth = ({ kind }: Link) => kind === 'veth'
  const bridges = [...new Set(links.filter(isVeth).flatMap(({ master }) => master ?? []))]
  const forwarded = 'leave --client-address at forwarded-for'
  if (bridges.length > 0) {
    const found = `bridged: ${someOf(bridges)}`
    if (bridgeCalls === '1') return warning('pod network', found, forwarded)
    return fails(
      'pod network',
      `${found}, and net.bridge.bridge-nf-call-iptables is not 1`,
      'modprobe br_netfilter; sysctl net.bridge.bridge-nf-call-iptables=1',
    )
  }
  if (links.some(link => isVeth(link)))
    return ok('pod network', 'routed: no bridge has a veth; --client-address preserve is possible')
  return warning('pod network', "no pod's interface found", `${forwarded} until there is one`)
}

/** @param hasIpsec undefined where this process may not look */
export function checkEncryption(links: readonly Link[], hasIpsec: boolean | undefined): Check {
  const wireguard = links.filter(({ kind }) => kind === 'wireguard').map(({ name }) => name)
  const found = [...wireguard.map(name => `WireGuard (${name})`), ...(hasIpsec ? ['IPsec'] : [])]
  if (found.length === 0 && hasIpsec === undefined)
    return warning('encryption between nodes', 'IPsec cannot be looked for', 'run as root, or with CAP_NET_ADMIN')
  if (found.length === 0) return ok('encryption between nodes', 'none found')
  const remedy =
    'the CNI may encrypt what pods send and not what the host sends, and Envoy is on the host: see whether it covers host traffic'
  return warning('encryption between nodes', found.join(', '), remedy)
}
