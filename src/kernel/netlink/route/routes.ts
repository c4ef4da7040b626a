/** Routes: those of a table, and the one that a packet would take (ip-route(8), include/uapi/linux/rtnetlink.h). */

import type { IpFamily } from '../../../net/address.ts'
import { ipBytes } from '../../../net/ipbytes.ts'
import { flags, NetlinkError } from '../answer.ts'
import { MalformedMessage, type Message, readAttributes } from '../reader.ts'
import type { NetlinkSocket, Request } from '../socket.ts'
import { familyNumbers, familyOfNumber } from './family.ts'

export interface Route {
  readonly family: IpFamily
  readonly table: number
  readonly type: RouteType
  /** Undefined for all addresses: a default route. */
  readonly destination: string | undefined
  /** How many bits of the destination count. */
  readonly length: number
  /** The interface's index; undefined where there are several, or none. */
  readonly interfaceIndex: number | undefined
  /** The next hop; undefined where there is none, or several. */
  readonly gateway: string | undefined
  /** It has a next hop. */
  readonly hasGateway: boolean
  /** The address that this machine would send from. */
  readonly source: string | undefined
  /** Of several to the same destination the least counts. */
  readonly metric: number | undefined
  /** As the kernel sent it; the route is deleted by it. */
  readonly body: Buffer
}

/** RTN_…, by their numbers. `local` is delivered to this machine itself. */
const routeTypes = [
  'unspecified',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
] as const
export type RouteType = (typeof routeTypes)[number]

export interface NewRoute {
  readonly family: IpFamily
  readonly table: number
  readonly type: 'unicast' | 'local'
  /** A host; undefined for a default route. */
  readonly destination?: string
  readonly interfaceIndex: number
  /** Of protocol `kernel`; else `boot`, as one that people made. */
  readonly isOfKernel?: boolean
}

const messageTypes = { new: 24, delete: 25, get: 26 } as const
const headerLength = 12
const scopes = { link: 253, host: 254 } as const
const protocols = { kernel: 2, boot: 3 } as const
const attributes = {
  destination: 1,
  from: 2,
  incoming: 3,
  interface: 4,
  gateway: 5,
  metric: 6,
  source: 7,
  multipath: 9,
  table: 15,
  via: 18,
} as const

/** Lists the routes of a table; empty where there is no such table. By a socket of protocol `route`, as all here. */
export function listRoutes(socket: NetlinkSocket, family: IpFamily, table: number): readonly Route[] {
  const request: Request = {
    type: messageTypes.get,
    body: writer => writer.raw(header(family, { table, type: 0 })).u32(attributes.table, table),
  }
  try {
    return socket.dumpNow(request, message => {
      const route = readRoute(message)
      return route?.table === table ? { ...route, body: Buffer.from(route.body) } : undefined
    })
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return []
    throw error
  }
}

/** Where a forwarded packet comes from: the interface that it comes in by, and its source. */
export interface Origin {
  readonly source: string
  readonly interfaceIndex: number
}

/** Looks up how a packet to the address would leave; undefined where it would not. */
export function routeTo(
  socket: NetlinkSocket,
  family: IpFamily,
  destination: string,
  origin?: Origin,
): Route | undefined {
  const bytes = ipBytes(destination)
  const length = 8 * bytes.length
  const request: Request = {
    type: messageTypes.get,
    body: writer => {
      const sourceLength = origin ? length : 0
      writer.raw(header(family, { length, sourceLength, type: 0 })).bytesOf(attributes.destination, bytes)
      if (origin) writer.address(attributes.from, origin.source).u32(attributes.incoming, origin.interfaceIndex)
    },
  }
  try {
    return socket.request(request, readRoute).find(route => route !== undefined)
  } catch (error) {
    if (error instanceof NetlinkError && unreachable.includes(error.code)) return undefined
    throw error
  }
}

/** No route, one that refuses, an address that is none of a host's, and a source that does not come from there. */
const unreachable = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL', 'EAGAIN', 'EXDEV']

/** Adds the route, in place of one of the same destination in that table. */
export function replaceRoute(socket: NetlinkSocket, route: NewRoute): void {
  const { family, table, type, destination, interfaceIndex, isOfKernel } = route
  const bytes = destination === undefined ? undefined : ipBytes(destination)
  const length = 8 * (bytes?.length ?? 0)
  const scope = family === 'IPv6' ? 0 : type === 'local' ? scopes.host : scopes.link
  const [number, protocol] = [routeTypes.indexOf(type), protocols[isOfKernel ? 'kernel' : 'boot']]
  socket.request({
    type: messageTypes.new,
    flags: flags.create | flags.replace,
    body: writer => {
      writer.raw(header(family, { length, table, protocol, scope, type: number }))
      if (bytes) writer.bytesOf(attributes.destination, bytes)
      writer.u32(attributes.interface, interfaceIndex).u32(attributes.table, table)
    },
  })
}

/** Deletes the route. False where it is gone. */
export function deleteRoute(socket: NetlinkSocket, { body }: Route): boolean {
  try {
    socket.request({ type: messageTypes.delete, body: writer => writer.raw(body) })
    return true
  } catch (error) {
    if (error instanceof NetlinkError && ['ESRCH', 'ENOENT'].includes(error.code)) return false
    throw error
  }
}

interface Header {
  readonly length?: number
  readonly sourceLength?: number
  readonly table?: number
  readonly protocol?: number
  readonly scope?: number
  readonly type: number
}

/** `struct rtmsg`; a table beyond 255 is in its attribute alone. */
function header(
  family: IpFamily,
  { length = 0, sourceLength = 0, table = 0, protocol = 0, scope = 0, type }: Header,
): Uint8Array {
  const short = table > 255 ? 0 : table
  return Uint8Array.of(familyNumbers[family], length, sourceLength, 0, short, protocol, scope, type, 0, 0, 0, 0)
}

/** Reads a route; undefined for another family's. Throws MalformedMessage. */
export function readRoute({ body }: Pick<Message, 'body'>): Route | undefined {
  if (body.length < headerLength) throw new MalformedMessage('a route is cut')
  const family = familyOfNumber(body[0])
  if (family === undefined) return undefined
  const read = readAttributes(body, headerLength)
  return {
    family,
    table: read.u32(attributes.table) ?? body[4]!,
    type: routeTypes[body[7]!] ?? 'unspecified',
    destination: read.address(attributes.destination),
    length: body[1]!,
    interfaceIndex: read.u32(attributes.interface),
    gateway: read.address(attributes.gateway),
    hasGateway: read.has(attributes.gateway) || read.has(attributes.via) || read.has(attributes.multipath),
    source: read.address(attributes.source),
    metric: read.u32(attributes.metric),
    body,
  }
}

/**
 * Prints the route as `ip route` does, without what is rare.
 * @param nameOf an interface's name, by its index
 */
export function routeText(route: Route, nameOf: (index: number) => string): string {
  const { type, destination, length, gateway, interfaceIndex, family } = route
  const isHost = length === (family === 'IPv4' ? 32 : 128)
  return [
    ...(type === 'unicast' ? [] : [type]),
    destination === undefined ? 'default' : isHost ? destination : `${destination}/${length}`,
    ...(gateway === undefined ? [] : [`via ${gateway}`]),
    ...(interfaceIndex === undefined ? [] : [`dev ${nameOf(interfaceIndex)}`]),
  ].join(' ')
}
