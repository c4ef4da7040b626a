/** Writes elements of sets and maps as attributes, and reads them back. */

import { eachAttribute } from '../../netlink/reader.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import { after, type Bytes, before, verdictBytes, verdictOf } from '../bytes.ts'
import type { SetTypes } from '../elements/values.ts'
import type { SetElement } from '../operations.ts'
import type { SetDefinition } from '../sets.ts'
import { verdictAttributes, writeVerdict } from './expression.ts'

const elementAttributes = {
  key: 1,
  data: 2,
  flags: 3,
  timeout: 4,
  expiration: 5,
  userData: 6,
  keyEnd: 10,
  listElement: 1,
  value: 1,
} as const
/** NFT_SET_ELEM_INTERVAL_END. */
const intervalEnd = 1
/** nft's note that a range has no end. */
const openEnd = Buffer.from([1, 4, 1, 0, 0, 0])

export function writeElement(writer: MessageWriter, set: SetDefinition, { key, value, timeoutMs }: SetElement): void {
  if (set.isInterval) return void writeRange(writer, key)
  writer.nested(elementAttributes.listElement, item => {
    writeBytes(item, elementAttributes.key, key)
    if (timeoutMs !== undefined) item.be64(elementAttributes.timeout, BigInt(timeoutMs))
    // A removed element is named by its key.
    if (value === '') return
    if (set.data === 'verdict') writeVerdict(item, elementAttributes.data, verdictOf(value))
    else writeBytes(item, elementAttributes.data, value)
  })
}

function writeBytes(writer: MessageWriter, attribute: number, bytes: Bytes): void {
  writer.nested(attribute, data => void data.latin1(elementAttributes.value, bytes))
}

/** Two elements: where the range begins, and where it has ended. */
function writeRange(writer: MessageWriter, range: Bytes): void {
  const end = after(range.slice(range.length / 2))
  writer.nested(elementAttributes.listElement, item => {
    writeBytes(item, elementAttributes.key, range.slice(0, range.length / 2))
    if (end === undefined) item.bytesOf(elementAttributes.userData, openEnd)
  })
  if (end === undefined) return
  writer.nested(elementAttributes.listElement, item => {
    writeBytes(item, elementAttributes.key, end)
    item.be32(elementAttributes.flags, intervalEnd)
  })
}

/** Keys and values as `SetElement` has both, and the comments that some have, by key. */
export interface FoundElements {
  readonly elements: (readonly [key: Bytes, value: Bytes])[]
  readonly comments: Map<Bytes, string>
  /** In how many milliseconds the elements that time out do so. */
  readonly remaining: Map<Bytes, number>
}

/** Reads the elements of one set: message by message, and ranges once all are there. */
export class ElementReader {
  readonly #types: Pick<SetTypes, 'data' | 'isInterval'>
  readonly #found: FoundElements = { elements: [], comments: new Map(), remaining: new Map() }
  readonly #ends: { readonly key: Bytes; readonly isEnd: boolean; readonly value: Bytes }[] = []
  // Of the element that is being read.
  #key: Bytes | undefined
  #keyEnd: Bytes | undefined
  #value: Bytes = ''
  #isEnd = false
  #comment: string | undefined
  #remaining: number | undefined

  constructor(types: Pick<SetTypes, 'data' | 'isInterval'>) {
    this.#types = types
  }

  /** @param list the value of NFTA_SET_ELEM_LIST_ELEMENTS. Throws MalformedMessage. */
  read(list: Buffer): void {
    eachAttribute(list, 0, list.length, (_, start, end) => {
      this.#key = undefined
      this.#keyEnd = undefined
      this.#value = ''
      this.#isEnd = false
      this.#comment = undefined
      this.#remaining = undefined
      eachAttribute(list, start, end, (type, start, end) => this.#attribute(list, type, start, end))
      this.#add()
    })
  }

  /** Returns the elements that were read since the last call, for readers that keep none; ranges come at the end. */
  take(): FoundElements['elements'] {
    return this.#found.elements.splice(0)
  }

  /** Ends the reading, after all messages. */
  end(): FoundElements {
    const ends = this.#ends.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : Number(b.isEnd) - Number(a.isEnd)))
    ends.forEach(({ key, isEnd, value }, index) => {
      if (isEnd) return
      const next = ends[index + 1]
      const last = next ? before(next.key) : '\xff'.repeat(key.length)
      if (last !== undefined) this.#found.elements.push([key + last, value])
    })
    return this.#found
  }

  #attribute(list: Buffer, type: number, start: number, end: number): void {
    switch (type) {
      case elementAttributes.key:
        this.#key = valueIn(list, start, end)
        return
      case elementAttributes.keyEnd:
        this.#keyEnd = valueIn(list, start, end)
        return
      case elementAttributes.data:
        if (this.#types.data === 'verdict') this.#value = verdictIn(list, start, end)
        else if (this.#types.data !== undefined) this.#value = valueIn(list, start, end) ?? ''
        return
      case elementAttributes.flags:
        this.#isEnd = end - start === 4 && (list.readUInt32BE(start) & intervalEnd) !== 0
        return
      case elementAttributes.expiration:
        this.#remaining = Number(list.readBigUInt64BE(start))
        return
      case elementAttributes.userData:
        this.#comment = commentIn(list.subarray(start, end))
    }
  }

  /** An element for all keys that have none of their own has no key. */
  #add(): void {
    const key = this.#key
    if (key === undefined) return
    if (this.#types.isInterval && this.#keyEnd === undefined) {
      this.#ends.push({ key, isEnd: this.#isEnd, value: this.#value })
      return
    }
    this.#found.elements.push([key + (this.#keyEnd ?? ''), this.#value])
    if (this.#comment !== undefined) this.#found.comments.set(key, this.#comment)
    if (this.#remaining !== undefined) this.#found.remaining.set(key, this.#remaining)
  }
}

function valueIn(list: Buffer, start: number, end: number): Bytes | undefined {
  let value: Bytes | undefined
  eachAttribute(list, start, end, (type, start, end) => {
    if (type === elementAttributes.value) value = list.toString('latin1', start, end)
  })
  return value
}

function verdictIn(list: Buffer, start: number, end: number): Bytes {
  let code: number | undefined
  let chain: string | undefined
  eachAttribute(list, start, end, (type, start, end) => {
    if (type !== verdictAttributes.verdict) return
    eachAttribute(list, start, end, (type, start, end) => {
      if (type === verdictAttributes.code && end - start === 4) code = list.readInt32BE(start)
      else if (type === verdictAttributes.chain) chain = list.toString('latin1', start, Math.max(start, end - 1))
    })
  })
  return code === undefined ? '' : verdictBytes({ code, ...(chain !== undefined && { chain }) })
}

/** Finds the comment, which is the first of nft's notes of an element. */
function commentIn(userData: Buffer): string | undefined {
  if (userData.length < 2 || userData[0] !== 0) return undefined
  const text = userData.subarray(2, 2 + userData[1]!)
  const end = text.indexOf(0)
  return text.toString('utf8', 0, end < 0 ? text.length : end)
}
