/**
 * Filters of tc on packets that come in by an interface: whether there are any, and filters that redirect packets to
 * the ingress of another interface (tc-u32(8), tc-mirred(8), include/uapi/linux/pkt_cls.h, pkt_sched.h).
 */

import type { IpFamily } from '../../../net/address.ts'
import { ipBytes } from '../../../net/ipbytes.ts'
import { flags, NetlinkError } from '../answer.ts'
import type { NetlinkSocket } from '../socket.ts'
import type { MessageWriter } from '../writer.ts'

/**
 * Redirects packets of the family from `source`, and to `destination` where that is given, to the ingress of another
 * interface.
 */
export interface Redirection {
  readonly family: IpFamily
  readonly source: string
  readonly destination?: string
  /** The index of that interface. */
  readonly to: number
}

const types = { newQdisc: 36, newFilter: 44, getFilter: 46 } as const
const headerLength = 20
/** Of a qdisc `clsact`: its handle, its parent, and the parent of its filters for what comes in. */
const clsact = { handle: 0xffff_0000, parent: 0xffff_fff1, ingress: 0xffff_fff2 } as const
const etherTypes = { IPv4: 0x0800, IPv6: 0x86dd } as const
/** Where source and destination are in an IP header. */
const offsets = { IPv4: [12, 16], IPv6: [8, 24] } as const
const attributes = { kind: 1, options: 2 } as const
const u32Attributes = { selector: 5, actions: 7 } as const
const actionAttributes = { kind: 1, options: 2 } as const
const mirredParameters = 2
const terminal = 1
/** TC_ACT_STOLEN and TCA_INGRESS_REDIR. */
const mirred = { stolen: 4, ingressRedirect: 3 } as const

/** Whether packets that come in by the interface meet a filter. By a socket of protocol `route`, as all here. */
export function hasFilters(socket: NetlinkSocket, interfaceIndex: number): boolean {
  const body = (writer: MessageWriter) => writer.raw(header(interfaceIndex, { parent: clsact.ingress }))
  try {
    return socket.dumpNow({ type: types.getFilter, body }, () => true).length > 0
  } catch (error) {
    // Without such a qdisc there is nothing to have filters.
    if (error instanceof NetlinkError && ['EINVAL', 'ENOENT'].includes(error.code)) return false
    throw error
  }
}

/**
 * Redirects packets of an interface that has no such qdisc yet; the first redirection that matches counts. Throws
 * NetlinkError.
 */
export function redirectIngress(
  socket: NetlinkSocket,
  interfaceIndex: number,
  redirections: readonly Redirection[],
): void {
  const { handle, parent, ingress } = clsact
  const create = flags.create | flags.exclusive
  socket.request({
    type: types.newQdisc,
    flags: create,
    body: writer => writer.raw(header(interfaceIndex, { handle, parent })).text(attributes.kind, 'clsact'),
  })
  for (const [index, redirection] of redirections.entries()) {
    const info = (((index + 1) << 16) | swapped(etherTypes[redirection.family])) >>> 0
    socket.request({
      type: types.newFilter,
      flags: create,
      body: writer =>
        writer
          .raw(header(interfaceIndex, { parent: ingress, info }))
          .text(attributes.kind, 'u32')
          .nested(attributes.options, options => writeFilter(options, redirection)),
    })
  }
}

function writeFilter(writer: MessageWriter, redirection: Redirection): void {
  writer
    .bytesOf(u32Attributes.selector, selector(redirection))
    .nested(u32Attributes.actions, actions =>
      actions.nested(1, action =>
        action
          .text(actionAttributes.kind, 'mirred')
          .nested(actionAttributes.options, options => options.bytesOf(mirredParameters, redirect(redirection.to))),
      ),
    )
}

/** `struct tc_u32_sel` with its keys: four bytes of the packet each. */
function selector({ family, source, destination }: Redirection): Buffer {
  const [atSource, atDestination] = offsets[family]
  const keys = [
    ...keysOf(Buffer.from(ipBytes(source)), atSource),
    ...(destination === undefined ? [] : keysOf(Buffer.from(ipBytes(destination)), atDestination)),
  ]
  const head = Buffer.alloc(16)
  head[0] = terminal
  head[2] = keys.length
  return Buffer.concat([head, ...keys])
}

/** `struct tc_u32_key`. */
function keysOf(bytes: Buffer, offset: number): readonly Buffer[] {
  return Array.from({ length: bytes.length / 4 }, (_, index) => {
    const key = Buffer.alloc(16)
    key.fill(0xff, 0, 4)
    bytes.copy(key, 4, 4 * index, 4 * index + 4)
    key.writeInt32LE(offset + 4 * index, 8)
    return key
  })
}

/** `struct tc_mirred`. */
function redirect(to: number): Buffer {
  const bytes = Buffer.alloc(28)
  bytes.writeInt32LE(mirred.stolen, 8)
  bytes.writeInt32LE(mirred.ingressRedirect, 20)
  bytes.writeUInt32LE(to, 24)
  return bytes
}

/** `struct tcmsg`. */
function header(interfaceIndex: number, { handle = 0, parent = 0, info = 0 }): Buffer {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeInt32LE(interfaceIndex, 4)
  bytes.writeUInt32LE(handle, 8)
  bytes.writeUInt32LE(parent, 12)
  bytes.writeUInt32LE(info, 16)
  return bytes
}

function swapped(number: number): number {
  return ((number & 0xff) << 8) | (number >> 8)
}
