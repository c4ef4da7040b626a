/** Sets as the kernel declares them, with the notes for nft that make `nft list` print them as they were declared. */

import type { Family, Transport } from '../../family.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import { typesOf } from '../elements/values.ts'
import { growingSize, type KeyType, type SetDefinition } from '../sets.ts'
import { concatenatedNumber, lengthOf, typeOf } from './types.ts'

export const setAttributes = {
  table: 1,
  name: 2,
  flags: 3,
  keyType: 4,
  keyLength: 5,
  dataType: 6,
  dataLength: 7,
  description: 9,
  id: 10,
  timeout: 11,
  userData: 13,
} as const
const descriptionAttributes = { size: 1 } as const

export const setFlags = {
  anonymous: 1,
  constant: 2,
  interval: 4,
  map: 8,
  timeout: 0x10,
  dynamic: 0x20,
} as const

/** NFT_DATA_VERDICT, and the length of a verdict in a register. */
export const verdictType = { number: 0xffff_ff00, length: 16 } as const

export function writeSet(writer: MessageWriter, family: Family, table: string, set: SetDefinition, id: number): void {
  const { key, data } = typesOf(family, set)
  writer.text(setAttributes.table, table)
  writer.text(setAttributes.name, set.name)
  writer.be32(
    setAttributes.flags,
    (set.data === undefined ? 0 : setFlags.map) |
      (set.isInterval ? setFlags.interval : 0) |
      (set.isTimed ? setFlags.timeout : 0) |
      (set.dynamicSize === undefined ? 0 : setFlags.timeout | setFlags.dynamic),
  )
  writer.be32(setAttributes.keyType, concatenatedNumber(key))
  writer.be32(setAttributes.keyLength, lengthOf(key))
  if (data !== undefined) {
    writer.be32(setAttributes.dataType, data === 'verdict' ? verdictType.number : concatenatedNumber(data))
    writer.be32(setAttributes.dataLength, data === 'verdict' ? verdictType.length : lengthOf(data))
  }
  writer.be32(setAttributes.id, id)
  const { dynamicSize } = set
  if (dynamicSize !== undefined && dynamicSize !== growingSize) writeSize(writer, dynamicSize)
  writer.bytesOf(setAttributes.userData, userDataOf(family, set))
}

function writeSize(writer: MessageWriter, size: number): void {
  writer.nested(setAttributes.description, description => void description.be32(descriptionAttributes.size, size))
}

/** Writes a map that is a part of a rule: from 0, 1, … to endpoints. */
export function writeInlineMap(
  writer: MessageWriter,
  family: Family,
  table: string,
  name: string,
  size: number,
  id: number,
): void {
  const data = [typeOf(family, 'address'), typeOf(family, 'inet_service')]
  writer.text(setAttributes.table, table)
  writer.text(setAttributes.name, name)
  writer.be32(setAttributes.flags, setFlags.anonymous | setFlags.constant | setFlags.map)
  writer.be32(setAttributes.keyType, typeOf(family, 'number').number)
  writer.be32(setAttributes.keyLength, typeOf(family, 'number').length)
  writer.be32(setAttributes.dataType, concatenatedNumber(data))
  writer.be32(setAttributes.dataLength, lengthOf(data))
  writer.be32(setAttributes.id, id)
  writeSize(writer, size)
  const notes = [
    note(noteTypes.keyByteOrder, word(byteOrders.host)),
    note(noteTypes.dataByteOrder, word(byteOrders.unknown)),
  ]
  writer.bytesOf(setAttributes.userData, Buffer.concat([...notes, note(noteTypes.dataInterval, word(0))]))
}

/**
 * What nft notes of a set (nftables' include/expression.h, libnftnl's udata.h), in the form of its version 1.0.6, which
 * later ones read.
 */
const noteTypes = { keyByteOrder: 0, dataByteOrder: 1, keyExpression: 3, dataExpression: 4, dataInterval: 6 } as const
const byteOrders = { unknown: 0, host: 1, network: 2 } as const
const expressionTypes = { payload: 7, concatenation: 13, randomNumber: 23 } as const
const protocolFields = {
  ip: { protocol: 12, daddr: 12 },
  ip6: { protocol: 13, daddr: 9 },
} as const satisfies Record<Family, object>
const portProtocols = { tcp: 8, udp: 6, sctp: 10 } as const satisfies Record<Transport, number>
const destinationPort = 2

function userDataOf(family: Family, { key, data, transport }: SetDefinition): Buffer {
  const notes = [note(noteTypes.keyByteOrder, word(key.length > 1 ? byteOrders.unknown : byteOrders.network))]
  if (data !== undefined) notes.push(note(noteTypes.dataByteOrder, word(byteOrders.unknown)))
  const isDescribed = transport !== undefined
  if (isDescribed) notes.push(note(noteTypes.keyExpression, concatenationOf(key, family, transport)))
  else if (key.length > 1) notes.push(note(noteTypes.keyExpression, concatenation(Buffer.alloc(0))))
  if (isDescribed && data !== undefined && data !== 'verdict') {
    notes.push(note(noteTypes.dataExpression, concatenationOf(data, family, transport)))
  }
  if (data !== undefined) notes.push(note(noteTypes.dataInterval, word(0)))
  return Buffer.concat(notes)
}

function concatenationOf(types: readonly KeyType[], family: Family, transport: Transport): Buffer {
  return concatenation(Buffer.concat(types.map((type, index) => note(index, expressionOf(type, family, transport)))))
}

function concatenation(parts: Buffer): Buffer {
  return expression(expressionTypes.concatenation, parts)
}

function expressionOf(type: KeyType, family: Family, transport: Transport): Buffer {
  if (type === 'number') {
    const random = [1, 2, 0].map((value, index) => note(index, word(value)))
    return expression(expressionTypes.randomNumber, Buffer.concat(random))
  }
  const { protocol, daddr } = protocolFields[family]
  const [header, field] = type === 'address' ? [protocol, daddr] : [portProtocols[transport], destinationPort]
  return expression(expressionTypes.payload, Buffer.concat([note(0, word(header)), note(1, word(field))]))
}

function expression(type: number, content: Buffer): Buffer {
  return Buffer.concat([note(0, word(type)), note(1, content)])
}

function note(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length]), value])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
