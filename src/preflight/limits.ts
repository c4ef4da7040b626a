/** Checks settings of the kernel, and ports that have to be free. */

import { isListening } from '../kernel/system/connections/listening.ts'
import { someOf } from '../text/some.ts'
import { type Check, fails, ok, warning } from './check.ts'
import { textOf } from './output.ts'

const sysctl = (name: string) => textOf(`/proc/sys/net/${name}`)

export async function checkSysctls(): Promise<readonly Check[]> {
  const [forwarding, range, migration, conntrackMax, conntrackCount] = await Promise.all([
    sysctl('ipv4/ip_forward'),
    sysctl('ipv4/ip_local_port_range'),
    sysctl('ipv4/tcp_migrate_req'),
    sysctl('netfilter/nf_conntrack_max'),
    sysctl('netfilter/nf_conntrack_count'),
  ])
  return [
    checkForwarding(forwarding),
    checkPortRange(range),
    checkMigration(migration),
    checkConntrack(Number(conntrackMax), Number(conntrackCount)),
  ]
}

function checkForwarding(value: string | undefined): Check {
  if (value === '1') return ok('ip_forward', '1')
  return fails(
    'ip_forward',
    value ?? 'not readable',
    'sysctl net.ipv4.ip_forward=1; without it pods reach no other node, with kube-proxy neither',
  )
}

/** Envoy's ports from 61000 up keep its connections apart from those of the pod whose address they have. */
export function checkPortRange(value: string | undefined): Check {
  const last = Number(value?.split(/\s+/)[1])
  if (last >= 65000) return ok('ip_local_port_range', value!.replace(/\s+/, ' '))
  const remedy = 'matters to --client-address preserve only: sysctl net.ipv4.ip_local_port_range="32768 65535"'
  return warning('ip_local_port_range', value?.replace(/\s+/, ' ') ?? 'not readable', remedy)
}

/**
 * Checks whether an Envoy can hand over the connections that wait for it. Where Linux knows the setting, the agent sets
 * it.
 */
export function checkMigration(value: string | undefined): Check {
  if (value !== undefined) return ok('tcp_migrate_req', value === '1' ? '1' : `${value}; the agent sets 1`)
  const remedy = 'Linux 5.14 has it; until then the kernel layer serves all Services while Envoy is upgraded'
  return warning('tcp_migrate_req', 'not there', remedy)
}

export function checkConntrack(max: number, count: number): Check {
  if (!(max > 0)) return warning('conntrack', 'not loaded yet', 'none; our tables load it')
  const found = `${count} of ${max} entries in use`
  // A connection through Envoy takes two entries where one by DNAT takes one.
  if (count * 2 < max) return ok('conntrack', found)
  return warning(
    'conntrack',
    found,
    'raise net.netfilter.nf_conntrack_max: through Envoy a connection takes two entries',
  )
}

/** @param isOurs whether an agent runs on this node: then the ports are its own and Envoy's */
export async function checkPorts(ports: readonly number[], isOurs: boolean): Promise<Check> {
  const taken = (await Promise.all(ports.map(async port => ((await isListening(port)) ? [port] : [])))).flat()
  if (taken.length === 0) return ok('ports', `${ports.join(', ')} are free`)
  if (isOurs) return ok('ports', `an agent runs here already; ${taken.join(', ')} in use`)
  return fails(
    'ports',
    `${someOf(taken.map(String), 5)} in use by another process`,
    'stop it, or choose other ports: --redirect-port, --admin-port, --metrics-port, --services-metrics-port',
  )
}
