/**
 * Lists conntrack entries by what they match, and deletes them (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
 */

import { isIPv4 } from 'node:net'
import type { IpFamily, Protocol } from '../../net/address.ts'
import { NetlinkError } from './answer.ts'
import { type Attributes, type Message, readAttributes, required } from './reader.ts'
import type { NetlinkSocket, Request } from './socket.ts'
import type { MessageWriter } from './writer.ts'

/** One direction's addresses. */
export interface Tuple {
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
}

export interface Flow {
  readonly family: IpFamily
  readonly protocol: Protocol
  /** Of the flow's first packet. */
  readonly original: Tuple
  /** Of an answer before it is translated back: its source is whom the flow leads to. */
  readonly reply: Tuple
  /** Whether there was an answer. */
  readonly isReplied: boolean
  /** A TCP connection that has begun and that neither side has ended. */
  readonly isOpen: boolean
  readonly mark: number
  readonly zone: number
  /** No other flow of the same addresses has it: one that ended and began anew is another. */
  readonly id: number
}

/** A flow matches where all given parts do. */
export interface FlowFilter {
  /** Default: both, of which the kernel searches its table once; it compares no tuples then. */
  readonly family?: IpFamily
  readonly protocol: Protocol
  readonly original?: Partial<Tuple>
  readonly reply?: Partial<Tuple>
  readonly mark?: { readonly value: number; readonly mask: number }
  readonly zone?: number
  readonly isReplied?: boolean
}

const types = { get: 0x101, delete: 0x102 } as const
const families = { any: 0, IPv4: 2, IPv6: 10 } as const
const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 } as const
const attributes = {
  original: 1,
  reply: 2,
  status: 3,
  protocolInfo: 4,
  mark: 8,
  id: 12,
  zone: 18,
  markMask: 21,
  filter: 25,
  statusMask: 26,
} as const
const tupleAttributes = { ip: 1, protocol: 2 } as const
const ipAttributes = {
  IPv4: { source: 1, destination: 2 },
  IPv6: { source: 3, destination: 4 },
} as const
const portAttributes = { protocol: 1, source: 2, destination: 3 } as const
/** Of CTA_FILTER: the attribute for each direction, and the bit for each part of a tuple. */
const filterAttributes = { original: 1, reply: 2 } as const
const filterBits = { source: 1, destination: 2, protocol: 8, sourcePort: 16, destinationPort: 32 } as const
const seenReply = 2
/** Of CTA_PROTOINFO, for TCP alone, and TCP_CONNTRACK_ESTABLISHED. */
const infoAttributes = { tcp: 1, tcpState: 1 } as const
const established = 3
const headerLength = 4

/**
 * Lists flows by a socket of protocol `netfilter`, which must do nothing else until this resolves. Rejects as
 * `NetlinkSocket.dump`. The kernel leaves out what does not match (Linux 5.8, by answers 5.15; an older one sends all,
 * which is filtered here).
 */
export function listFlows(socket: NetlinkSocket, filter: FlowFilter): Promise<readonly Flow[]> {
  return mapFlows(socket, filter, flow => flow)
}

/** Lists flows as `listFlows`, and keeps of each what `map` makes of it, or nothing: there may be a million. */
export function mapFlows<T>(
  socket: NetlinkSocket,
  filter: FlowFilter,
  map: (flow: Flow) => T | undefined,
): Promise<readonly T[]> {
  const request = { type: types.get, body: (writer: MessageWriter) => writeQuery(writer, filter) }
  return socket.dump(request, message => {
    const flow = readFlow(message)
    return flow && matches(flow, filter) ? map(flow) : undefined
  })
}

/**
 * Deletes the flow, so that its next packet is looked up anew: UDP goes to another endpoint, and so does TCP where that is
 * a repeated first packet; any other of TCP is no longer translated, and so goes nowhere. False where it was gone already. Throws NetlinkError.
 */
export function deleteFlow(socket: NetlinkSocket, flow: Flow): boolean {
  try {
    socket.request(deletion(flow))
    return true
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false
    throw error
  }
}

/** Names the flow by its tuple: without one the kernel would delete all flows. */
function deletion({ family, protocol, original, zone, id }: Flow): Request {
  return {
    type: types.delete,
    body: writer => {
      writeTuple(writer.raw(header(family)), attributes.original, family, protocol, original)
      if (zone !== 0) writer.be16(attributes.zone, zone)
      writer.be32(attributes.id, id)
    },
  }
}

function writeQuery(writer: MessageWriter, filter: FlowFilter) {
  const { family, mark, zone, isReplied } = filter
  writer.raw(header(family ?? 'any'))
  if (family) writeTupleFilter(writer, family, filter)
  if (mark) writer.be32(attributes.mark, mark.value).be32(attributes.markMask, mark.mask)
  if (zone) writer.be16(attributes.zone, zone)
  if (isReplied !== undefined) {
    writer.be32(attributes.status, isReplied ? seenReply : 0).be32(attributes.statusMask, seenReply)
  }
}

function writeTupleFilter(
  writer: MessageWriter,
  family: IpFamily,
  { protocol, original = {}, reply = {} }: FlowFilter,
): void {
  writeTuple(writer, attributes.original, family, protocol, original)
  if (partsOf(reply).length > 0) writeTuple(writer, attributes.reply, family, protocol, reply)
  writer.nested(attributes.filter, w => {
    w.u32(filterAttributes.original, bitsOf(family, original))
    if (partsOf(reply).length > 0) w.u32(filterAttributes.reply, bitsOf(family, reply))
  })
}

/**
 * Linux (6.18) inverts the comparison of IPv6 addresses and leaves out what matches, so it is not asked to compare
 * them.
 */
function bitsOf(family: IpFamily, tuple: Partial<Tuple>): number {
  const parts = partsOf(tuple).filter(part => family === 'IPv4' || part.endsWith('Port'))
  return parts.reduce<number>((bits, part) => bits | filterBits[part], filterBits.protocol)
}

/** Lists the parts that are given. */
function partsOf(tuple: Partial<Tuple>): readonly (keyof Tuple)[] {
  return (Object.keys(tuple) as (keyof Tuple)[]).filter(part => tuple[part] !== undefined)
}

function header(family: keyof typeof families): Uint8Array {
  return Uint8Array.of(families[family], 0, 0, 0)
}

function writeTuple(
  writer: MessageWriter,
  type: number,
  family: IpFamily,
  protocol: Protocol,
  { source, destination, sourcePort, destinationPort }: Partial<Tuple>,
): void {
  const ip = ipAttributes[family]
  writer.nested(type, tuple => {
    if (source ?? destination)
      tuple.nested(tupleAttributes.ip, w => {
        if (source) w.address(ip.source, source)
        if (destination) w.address(ip.destination, destination)
      })
    tuple.nested(tupleAttributes.protocol, w => {
      w.u8(portAttributes.protocol, protocolNumbers[protocol])
      if (sourcePort !== undefined) w.be16(portAttributes.source, sourcePort)
      if (destinationPort !== undefined) w.be16(portAttributes.destination, destinationPort)
    })
  })
}

/** Reads a flow; undefined for one of another protocol. Throws MalformedMessage. */
export function readFlow({ body }: Pick<Message, 'body'>): Flow | undefined {
  const read = readAttributes(body, headerLength)
  const original = required(read.nested(attributes.original), 'the original tuple')
  const protocol = protocolOf(original)
  if (protocol === undefined) return undefined
  const there = readTuple(original)
  return {
    family: isIPv4(there.source) ? 'IPv4' : 'IPv6',
    protocol,
    original: there,
    reply: readTuple(required(read.nested(attributes.reply), 'the reply tuple')),
    isReplied: ((read.be32(attributes.status) ?? 0) & seenReply) !== 0,
    isOpen:
      read.nested(attributes.protocolInfo)?.nested(infoAttributes.tcp)?.u8(infoAttributes.tcpState) === established,
    mark: read.be32(attributes.mark) ?? 0,
    zone: read.be16(attributes.zone) ?? 0,
    id: required(read.be32(attributes.id), 'the id'),
  }
}

function protocolOf(tuple: Attributes): Protocol | undefined {
  const number = tuple.nested(tupleAttributes.protocol)?.u8(portAttributes.protocol)
  return (['TCP', 'UDP', 'SCTP'] as const).find(name => protocolNumbers[name] === number)
}

function readTuple(tuple: Attributes): Tuple {
  const ip = required(tuple.nested(tupleAttributes.ip), 'the addresses')
  const ports = required(tuple.nested(tupleAttributes.protocol), 'the protocol')
  const address = (end: 'source' | 'destination') =>
    required(ip.address(ipAttributes.IPv4[end]) ?? ip.address(ipAttributes.IPv6[end]), 'an address')
  return {
    source: address('source'),
    destination: address('destination'),
    sourcePort: required(ports.be16(portAttributes.source), 'a port'),
    destinationPort: required(ports.be16(portAttributes.destination), 'a port'),
  }
}

function matches(flow: Flow, filter: FlowFilter): boolean {
  const { family, protocol, original = {}, reply = {}, mark, zone, isReplied } = filter
  const isSame = (tuple: Tuple, wanted: Partial<Tuple>) => partsOf(wanted).every(part => tuple[part] === wanted[part])
  return (
    (family === undefined || flow.family === family) &&
    flow.protocol === protocol &&
    isSame(flow.original, original) &&
    isSame(flow.reply, reply) &&
    (zone === undefined || flow.zone === zone) &&
    (isReplied === undefined || flow.isReplied === isReplied) &&
    (mark === undefined || (flow.mark & mark.mask) >>> 0 === mark.value >>> 0)
  )
}
