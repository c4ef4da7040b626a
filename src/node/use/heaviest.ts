/**
 * Finds the Service ports that have most of Envoy's connections. Envoy itself counts them by listener, which ports
 * share.
 */

import { mapFlows } from '../../kernel/netlink/ctnetlink.ts'
import { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { IpFamily } from '../../net/address.ts'
import { namespaceOf } from '../../plan/ports/port.ts'
import { type BelowOptions, isRedirected } from './below.ts'

export interface EnvoyConnectionsOptions extends BelowOptions {
  readonly families: readonly IpFamily[]
  /** Returns the id of the Service port that clients reach by this address. */
  readonly portAt: (ip: string, port: number) => string | undefined
}

/** Envoy's open connections. */
export interface EnvoyConnections {
  /** Also those of ports that it has no more. */
  readonly total: number
  /** By the id of the Service port to which they were made. */
  readonly byPort: ReadonlyMap<string, number>
}

/** Rejects as `listFlows`. */
export async function countInEnvoy(options: EnvoyConnectionsOptions): Promise<EnvoyConnections> {
  const byPort = new Map<string, number>()
  let total = 0
  using socket = new NetlinkSocket('netfilter')
  for (const family of options.families) {
    await mapFlows(socket, { family, protocol: 'TCP' }, flow => {
      if (!flow.isOpen || !isRedirected(flow, options)) return
      total++
      const { destination, destinationPort } = flow.original
      const id = options.portAt(destination, destinationPort)
      if (id !== undefined) byPort.set(id, (byPort.get(id) ?? 0) + 1)
    })
  }
  return { total, byPort }
}

/** However evenly connections are spread, the demotion has to make room, or it helps nobody. */
const mostPorts = 10

/**
 * The fewest ports that have at least half of all connections together, the one with most first. Where that is more than
 * ten, ten of the namespaces that have most: else a tenant with many ports that have a little more connections than usual
 * each would have others' busiest ones held back.
 */
export function heaviest(connections: ReadonlyMap<string, number>): readonly string[] {
  const byWeight = [...connections].sort(([, a], [, b]) => b - a)
  const half = sumOf(byWeight) / 2
  const most = byWeight.slice(0, mostPorts)
  if (sumOf(most) < half) {
    const byNamespace = [...Map.groupBy(byWeight, ([id]) => namespaceOf(id)).values()]
    const inOrder = byNamespace.sort((a, b) => sumOf(b) - sumOf(a)).flat()
    return inOrder.slice(0, mostPorts).map(([id]) => id)
  }
  const found: string[] = []
  let has = 0
  for (const [id, count] of most) {
    if (has >= half) break
    found.push(id)
    has += count
  }
  return found
}

function sumOf(ports: readonly (readonly [id: string, count: number])[]): number {
  return ports.reduce((sum, [, count]) => sum + count, 0)
}
