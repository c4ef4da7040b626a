/**
 * Reads netlink messages from bytes. Whatever the bytes are, it reads nothing beyond them, and throws MalformedMessage
 * and nothing else where they do not fit.
 */

import { ipText } from '../../net/ipbytes.ts'

export class MalformedMessage extends Error {
  constructor(reason: string) {
    super(`netlink message malformed: ${reason}`)
    this.name = 'MalformedMessage'
  }
}

export interface Message {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** The port of the socket that asked for it, or that made the change it reports. */
  readonly port: number
  /** The rest behind the header. It is the receive buffer's own: valid until the next one is received. */
  readonly body: Buffer
}

const headerLength = 16
const attributeHeaderLength = 4
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const typeMask = 0x3fff

/** Reads the messages of a datagram. */
export function readMessages(bytes: Buffer): readonly Message[] {
  const messages: Message[] = []
  for (let start = 0; start < bytes.length; ) {
    if (bytes.length - start < headerLength) throw new MalformedMessage('its header is cut')
    const length = bytes.readUInt32LE(start)
    if (length < headerLength || length > bytes.length - start) throw new MalformedMessage(`it says ${length} bytes`)
    messages.push({
      type: bytes.readUInt16LE(start + 4),
      flags: bytes.readUInt16LE(start + 6),
      sequence: bytes.readUInt32LE(start + 8),
      port: bytes.readUInt32LE(start + 12),
      body: bytes.subarray(start + headerLength, start + length),
    })
    start += (length + 3) & ~3
  }
  return messages
}

/** Reads the attributes of a message after the family's own header, or of a nested attribute. */
export function readAttributes(bytes: Buffer, from = 0): Attributes {
  const attributes = new Attributes()
  eachAttribute(bytes, from, bytes.length, (type, start, end) => void attributes.set(type, bytes.subarray(start, end)))
  return attributes
}

/** Reads attributes in their order, each type as often as it comes: for lists. */
export function readList(bytes: Buffer, from = 0): readonly { readonly type: number; readonly value: Buffer }[] {
  const list: { type: number; value: Buffer }[] = []
  eachAttribute(bytes, from, bytes.length, (type, start, end) => {
    list.push({ type, value: bytes.subarray(start, end) })
  })
  return list
}

/** Gives each attribute between two offsets to `take`: its type, and where its value begins and ends. */
export function eachAttribute(
  bytes: Buffer,
  from: number,
  to: number,
  take: (type: number, start: number, end: number) => void,
): void {
  if (to < from) throw new MalformedMessage(`a header of ${from} bytes is missing`)
  for (let start = from; start < to; ) {
    // The rest may be padding.
    if (to - start < attributeHeaderLength) return
    const length = bytes[start]! | (bytes[start + 1]! << 8)
    if (length < attributeHeaderLength || length > to - start)
      throw new MalformedMessage(`an attribute says ${length} bytes`)
    const type = (bytes[start + 2]! | (bytes[start + 3]! << 8)) & typeMask
    take(type, start + attributeHeaderLength, start + length)
    start += (length + 3) & ~3
  }
}

/**
 * By type; the last of a type counts. Getters return undefined where there is none, and throw where its length is
 * wrong.
 */
export class Attributes extends Map<number, Buffer> {
  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8()
  }

  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16LE()
  }

  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE()
  }

  u64(type: number): bigint | undefined {
    return this.#sized(type, 8)?.readBigUInt64LE()
  }

  be16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16BE()
  }

  be32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32BE()
  }

  be64(type: number): bigint | undefined {
    return this.#sized(type, 8)?.readBigUInt64BE()
  }

  /** Up to its first zero byte. */
  text(type: number): string | undefined {
    const value = this.get(type)
    if (value === undefined) return undefined
    const end = value.indexOf(0)
    return value.toString('utf8', 0, end < 0 ? value.length : end)
  }

  address(type: number): string | undefined {
    const value = this.get(type)
    if (value === undefined) return undefined
    if (value.length !== 4 && value.length !== 16) throw new MalformedMessage(`an address of ${value.length} bytes`)
    return ipText(value)
  }

  nested(type: number): Attributes | undefined {
    const value = this.get(type)
    return value && readAttributes(value)
  }

  list(type: number): ReturnType<typeof readList> {
    const value = this.get(type)
    return value === undefined ? [] : readList(value)
  }

  #sized(type: number, length: number): Buffer | undefined {
    const value = this.get(type)
    if (value !== undefined && value.length !== length)
      throw new MalformedMessage(`attribute ${type} has ${value.length} bytes in place of ${length}`)
    return value
  }
}

/** Returns the value; throws MalformedMessage where there is none. */
export function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new MalformedMessage(`${name} is missing`)
  return value
}
