/**
 * TCP sockets of a network namespace, of any process: who listens on a port, who is connected to whom, and how a
 * connection is ended by a third (sock_diag(7), include/uapi/linux/inet_diag.h).
 */

import type { IpFamily } from '../../net/address.ts'
import { ipBytes, ipText } from '../../net/ipbytes.ts'
import { NetlinkError } from './answer.ts'
import { MalformedMessage, type Message, readAttributes } from './reader.ts'
import type { NetlinkSocket, Request } from './socket.ts'
import type { MessageWriter } from './writer.ts'

/** States of a TCP socket that are asked for here, as the kernel numbers them. */
export const tcpStates = { established: 1, timeWait: 6, closeWait: 8, listen: 10 } as const
export type TcpState = keyof typeof tcpStates

export interface TcpEnd {
  /** Canonical; `0.0.0.0` or `::` where it is any. IPv4 in a socket of IPv6 is `::ffff:10.0.0.1`. */
  readonly ip: string
  readonly port: number
}

export interface TcpSocket {
  /** Of the socket, not of what it carries: one of IPv6 may serve both. */
  readonly family: IpFamily
  readonly local: TcpEnd
  /** Port 0 where it listens. */
  readonly remote: TcpEnd
  /** The kernel's name for the socket, which no other has while it lives. */
  readonly cookie: bigint
  /** The interface that it is bound to; 0 for none. */
  readonly interfaceIndex: number
  readonly uid: number
  /** Of the socket; 0 where no process has it any more. /proc/PID/fd links to `socket:[inode]`. */
  readonly inode: number
  /** IP_TRANSPARENT, which takes CAP_NET_ADMIN or CAP_NET_RAW to set; undefined before Linux 5.10. */
  readonly transparent: boolean | undefined
  /** SO_MARK; undefined without CAP_NET_ADMIN. */
  readonly mark: number | undefined
}

export interface TcpFilter {
  readonly states: readonly TcpState[]
  readonly localPort?: number
  readonly remotePort?: number
  readonly families?: readonly IpFamily[]
  /** Bits of SO_MARK; the kernel filters by it only with CAP_NET_ADMIN. */
  readonly mark?: { readonly value: number; readonly mask: number } | undefined
}

const types = { byFamily: 20, destroy: 21 } as const
const families = { IPv4: 2, IPv6: 10 } as const
const tcp = 6
const messageLength = 72
const byteCodeAttribute = 1
const markAttribute = 15
const optionsAttribute = 22
/** In `struct inet_diag_sockopt`. */
const transparentBit = 1 << 5

/** Lists TCP sockets by a socket of protocol `sockDiag`. Throws as `NetlinkSocket.dumpNow`. */
export function listTcp(socket: NetlinkSocket, filter: TcpFilter): readonly TcpSocket[] {
  return listTcpBy(socket, filter, readTcpSocket)
}

/**
 * @param read what of the kernel's answer is wanted; what it has no value for is left out
 * @param parts further ones of the answer, as the kernel numbers them (INET_DIAG_…)
 */
export function listTcpBy<T>(
  socket: NetlinkSocket,
  filter: TcpFilter,
  read: (message: Pick<Message, 'body'>) => T | undefined,
  parts: readonly number[] = [],
): readonly T[] {
  const states = filter.states.reduce((bits, state) => bits | (1 << tcpStates[state]), 0)
  const ends = { localPort: filter.localPort ?? 0, remotePort: filter.remotePort ?? 0 }
  const extensions = parts.reduce((bits, part) => bits | (1 << (part - 1)), 0)
  return (filter.families ?? (['IPv4', 'IPv6'] as const)).flatMap(family => {
    const request = query(family, states, ends)
    request[2] = extensions
    const body = (writer: MessageWriter) => {
      writer.raw(request)
      if (filter.mark) writer.bytesOf(byteCodeAttribute, hasMark(filter.mark))
    }
    return socket.dumpNow({ type: types.byFamily, body }, read)
  })
}

/**
 * Makes a program of one step, `struct inet_diag_bc_op` and `struct inet_diag_markcond`, which goes to its end, or
 * beyond it.
 */
function hasMark({ value, mask }: NonNullable<TcpFilter['mark']>): Buffer {
  const program = Buffer.alloc(12)
  program[0] = 10
  program[1] = program.length
  program.writeUInt16LE(program.length + 4, 2)
  program.writeUInt32LE(value >>> 0, 4)
  program.writeUInt32LE(mask >>> 0, 8)
  return program
}

/** Who listens on a TCP port, at any address. */
export function tcpListeners(socket: NetlinkSocket, port: number): readonly TcpSocket[] {
  return listTcp(socket, { states: ['listen'], localPort: port })
}

/**
 * Ends a connection at once, or closes a listener: both ends get a reset, as with ABORT of RFC 9293. False where it has
 * ended already. Takes CAP_NET_ADMIN, and CONFIG_INET_DIAG_DESTROY: NetlinkError EOPNOTSUPP without it.
 */
export function destroyTcp(socket: NetlinkSocket, which: TcpSocket): boolean {
  try {
    socket.request(destroyRequest(which))
    return true
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false
    throw error
  }
}

function destroyRequest({ family, local, remote, interfaceIndex, cookie }: TcpSocket): Request {
  const bytes = query(family, 0xffff_ffff, { localPort: local.port, remotePort: remote.port })
  bytes.set(ipBytes(local.ip), 12)
  bytes.set(ipBytes(remote.ip), 28)
  bytes.writeUInt32LE(interfaceIndex, 44)
  bytes.writeBigUInt64LE(cookie, 48)
  return { type: types.destroy, body: writer => writer.raw(bytes) }
}

/** `struct inet_diag_req_v2`. */
function query(
  family: IpFamily,
  states: number,
  { localPort, remotePort }: { readonly localPort: number; readonly remotePort: number },
): Buffer {
  const bytes = Buffer.alloc(56)
  bytes[0] = families[family]
  bytes[1] = tcp
  bytes.writeUInt32LE(states >>> 0, 4)
  bytes.writeUInt16BE(localPort, 8)
  bytes.writeUInt16BE(remotePort, 10)
  return bytes
}

/** `struct inet_diag_msg`. Throws MalformedMessage. */
export function readTcpSocket({ body }: Pick<Message, 'body'>): TcpSocket {
  if (body.length < messageLength) throw new MalformedMessage('a socket is cut')
  const family = body[0] === families.IPv6 ? 'IPv6' : 'IPv4'
  const length = family === 'IPv6' ? 16 : 4
  const attributes = readAttributes(body, messageLength)
  const options = attributes.get(optionsAttribute)?.at(0)
  return {
    family,
    local: { ip: ipText(body.subarray(8, 8 + length)), port: body.readUInt16BE(4) },
    remote: { ip: ipText(body.subarray(24, 24 + length)), port: body.readUInt16BE(6) },
    interfaceIndex: body.readUInt32LE(40),
    cookie: body.readBigUInt64LE(44),
    uid: body.readUInt32LE(64),
    inode: body.readUInt32LE(68),
    transparent: options === undefined ? undefined : (options & transparentBit) !== 0,
    mark: attributes.u32(markAttribute),
  }
}
