/** Netlink messages to bytes: headers, attributes, nesting, padding (include/uapi/linux/netlink.h). */

import { ipBytes } from '../../net/ipbytes.ts'

const headerLength = 16
const attributeHeaderLength = 4
/** NLA_F_NESTED. */
const nestedFlag = 0x8000
const maxAttributeLength = 0xffff

/**
 * Writes messages one after the other into one buffer. Numbers are in the machine's byte order (little-endian), except
 * by the methods whose names begin with `be`; nf_tables and conntrack want the latter.
 */
export class MessageWriter {
  #bytes = Buffer.allocUnsafe(1024)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** What was written; valid until more is. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Forgets what was written and keeps the room for it. */
  clear(): void {
    this.#length = 0
  }

  /** Throws RangeError where an attribute in it is too long: so does every method with a name of an attribute's. */
  message(type: number, flags: number, sequence: number, body: (writer: this) => void): this {
    const start = this.#reserve(headerLength)
    this.#bytes.writeUInt16LE(type, start + 4)
    this.#bytes.writeUInt16LE(flags, start + 6)
    this.#bytes.writeUInt32LE(sequence, start + 8)
    this.#bytes.writeUInt32LE(0, start + 12)
    body(this)
    this.#bytes.writeUInt32LE(this.#length - start, start)
    this.#pad()
    return this
  }

  /** Bytes as they are, such as a family's own header, padded to four. */
  raw(bytes: Uint8Array): this {
    const start = this.#reserve(bytes.length)
    this.#bytes.set(bytes, start)
    return this.#pad()
  }

  bytesOf(type: number, value: Uint8Array): this {
    const start = this.#attribute(type, value.length)
    this.#bytes.set(value, start)
    return this.#pad()
  }

  /** Writes a string of one character a byte. */
  latin1(type: number, value: string): this {
    const start = this.#attribute(type, value.length)
    this.#bytes.write(value, start, 'latin1')
    return this.#pad()
  }

  /** Writes an attribute without a value: it is there or not. */
  flag(type: number): this {
    this.#attribute(type, 0)
    return this
  }

  u8(type: number, value: number): this {
    const start = this.#attribute(type, 1)
    this.#bytes.writeUInt8(value, start)
    return this.#pad()
  }

  u16(type: number, value: number): this {
    const start = this.#attribute(type, 2)
    this.#bytes.writeUInt16LE(value, start)
    return this.#pad()
  }

  u32(type: number, value: number): this {
    const start = this.#attribute(type, 4)
    this.#bytes.writeUInt32LE(value, start)
    return this
  }

  be16(type: number, value: number): this {
    const start = this.#attribute(type, 2)
    this.#bytes.writeUInt16BE(value, start)
    return this.#pad()
  }

  be32(type: number, value: number): this {
    const start = this.#attribute(type, 4)
    this.#bytes.writeUInt32BE(value, start)
    return this
  }

  be64(type: number, value: bigint): this {
    const start = this.#attribute(type, 8)
    this.#bytes.writeBigUInt64BE(value, start)
    return this
  }

  /** Writes text with the zero byte that the kernel wants at its end. */
  text(type: number, value: string): this {
    const length = Buffer.byteLength(value)
    const start = this.#attribute(type, length + 1)
    this.#bytes.write(value, start)
    this.#bytes[start + length] = 0
    return this.#pad()
  }

  /** An IP address: 4 or 16 bytes. */
  address(type: number, value: string): this {
    return this.bytesOf(type, ipBytes(value))
  }

  nested(type: number, content: (writer: this) => void): this {
    const start = this.#reserve(attributeHeaderLength)
    this.#bytes.writeUInt16LE(type | nestedFlag, start + 2)
    content(this)
    this.#bytes.writeUInt16LE(checked(this.#length - start), start)
    return this
  }

  /** Begins an attribute and returns where its value begins. There may be another buffer afterwards. */
  #attribute(type: number, length: number): number {
    const whole = checked(attributeHeaderLength + length)
    const start = this.#reserve(whole)
    this.#bytes.writeUInt16LE(whole, start)
    this.#bytes.writeUInt16LE(type, start + 2)
    return start + attributeHeaderLength
  }

  #pad(): this {
    const padding = -this.#length & 3
    if (padding === 0) return this
    const start = this.#reserve(padding)
    this.#bytes.fill(0, start, this.#length)
    return this
  }

  #reserve(length: number): number {
    const start = this.#length
    const end = start + length
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, start)
      this.#bytes = larger
    }
    this.#length = end
    return start
  }
}

function checked(length: number): number {
  if (length > maxAttributeLength) throw new RangeError(`a netlink attribute of ${length} bytes; 65535 are possible`)
  return length
}
