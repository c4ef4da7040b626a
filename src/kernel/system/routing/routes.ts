/** Finds where this machine would send packets, by its routing tables. */

import { familyOf } from '../../../net/address.ts'
import { listLinks } from '../../netlink/route/links.ts'
import { type Origin, routeTo } from '../../netlink/route/routes.ts'
import { type NetlinkSocket, withSocket } from '../../netlink/socket.ts'

export interface Route {
  readonly device: string
  /** Delivered to this machine itself. */
  readonly isLocal: boolean
  /** It has a next hop. */
  readonly hasGateway: boolean
  /** The address that this machine would send from; undefined where it has none. */
  readonly source: string | undefined
}

/** Whether the address is of a pod of this node, by where it is. */
export function isPodRoute(route: Route | undefined): boolean {
  return route !== undefined && !route.isLocal && !route.hasGateway
}

/** Returns routes by address; those that lead nowhere are absent. Throws NetlinkError, SystemCallError. */
export function routesTo(addresses: readonly string[]): ReadonlyMap<string, Route> {
  return withSocket('route', {}, socket => {
    const names = interfaceNames(socket)
    return new Map(
      addresses.flatMap(address => {
        const route = find(socket, names, address)
        return route ? [[address, route] as const] : []
      }),
    )
  })
}

/**
 * Returns where packets of the pod to the address are routed; undefined where they go nowhere. Throws as `routesTo`.
 */
export function routeThrough(
  { address, device }: { readonly address: string; readonly device: string },
  to: string,
): Route | undefined {
  return withSocket('route', {}, socket => {
    const names = interfaceNames(socket)
    const interfaceIndex = [...names].find(([, name]) => name === device)?.[0]
    return interfaceIndex === undefined ? undefined : find(socket, names, to, { source: address, interfaceIndex })
  })
}

function interfaceNames(socket: NetlinkSocket): ReadonlyMap<number, string> {
  return new Map(listLinks(socket).map(({ index, name }) => [index, name]))
}

function find(
  socket: NetlinkSocket,
  names: ReadonlyMap<number, string>,
  address: string,
  origin?: Origin,
): Route | undefined {
  const family = familyOf(address)
  const route = family && routeTo(socket, family, address, origin)
  const device = names.get(route?.interfaceIndex ?? 0)
  if (!route || device === undefined) return undefined
  return { device, isLocal: route.type === 'local', hasGateway: route.hasGateway, source: route.source }
}
