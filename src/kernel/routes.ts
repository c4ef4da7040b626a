/** Where this machine would send packets, as its routing tables say. */

import { CommandError, type CommandPrefix, runCommand } from './command.ts'

export interface Route {
  readonly device: string
  /** Delivered to this machine itself. */
  readonly isLocal: boolean
  /** By way of another machine. */
  readonly hasGateway: boolean
  /** The address that this machine would send from; undefined where it has none. */
  readonly source: string | undefined
}

/** Whether the address is of a pod of this node, by where it is. */
export function isPodRoute(route: Route | undefined): boolean {
  return route !== undefined && !route.isLocal && !route.hasGateway
}

/** By address; those that lead nowhere are absent. One process, however many addresses. */
export async function routesTo(
  addresses: readonly string[],
  prefix: CommandPrefix = [],
): Promise<ReadonlyMap<string, Route>> {
  const routes = new Map<string, Route>()
  const onLine = (line: string) => {
    const found = parseRoute(line)
    if (found) routes.set(...found)
  }
  const input = addresses.map(address => `route get ${address}\n`).join('')
  try {
    await runCommand(['ip', '-force', '-batch', '-'], { prefix, input, onLine })
  } catch (error) {
    // It goes on after an address that leads nowhere, and says so at the end.
    if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
  }
  return routes
}

/** Where what the pod sends to the address is routed; undefined where it leads nowhere. */
export async function routeThrough(
  { address, device }: { readonly address: string; readonly device: string },
  to: string,
): Promise<Route | undefined> {
  let route: Route | undefined
  const onLine = (line: string) => {
    route ??= parseRoute(line)?.[1]
  }
  try {
    await runCommand(['ip', 'route', 'get', to, 'from', address, 'iif', device], { onLine })
  } catch (error) {
    if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
  }
  return route
}

/** `local 172.30.0.11 dev lo src 172.30.0.11 uid 0`, `fd00::1 from :: via fe80::1 dev eth0 src fd00::2 metric 1024 pref medium` */
function parseRoute(line: string): readonly [string, Route] | undefined {
  const match = /^(local )?([0-9a-f.:]+) (?:from \S+ )?(via \S+ )?dev (\S+)(?:.*? src (\S+))?/.exec(line)
  if (!match) return undefined
  const [, local, address, gateway, device, source] = match
  return [address!, { device: device!, isLocal: local !== undefined, hasGateway: gateway !== undefined, source }]
}
