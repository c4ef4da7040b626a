/** Elements of sets and maps to attributes and back. */

import type { Family } from '../../elements.ts'
import { type Attributes, MalformedMessage, readAttributes } from '../../netlink/reader.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import type { SetElement } from '../operations.ts'
import { verdictData } from '../rules/compile.ts'
import { verdictText } from '../rules/print.ts'
import type { Verdict } from '../rules/statement.ts'
import type { SetDefinition } from '../sets.ts'
import { readVerdict, writeData, writeVerdict } from './expression.ts'
import { after, before, rangeOf, rangeText } from './ranges.ts'
import { keyTypes } from './sets.ts'
import { type DataType, readValue, typeOf, writeValue } from './types.ts'

export const elementAttributes = {
  key: 1,
  data: 2,
  flags: 3,
  timeout: 4,
  userData: 6,
  keyEnd: 10,
  listElement: 1,
  value: 1,
} as const
/** NFT_SET_ELEM_INTERVAL_END. */
const intervalEnd = 1
/** nft's note that a range has no end. */
const openEnd = Buffer.from([1, 4, 1, 0, 0, 0])

/** How elements of one set are written. */
export function elementWriter(family: Family, set: SetDefinition) {
  const key = keyTypes(family, set)
  const data = set.data === undefined || set.data === 'verdict' ? [] : set.data.map(type => typeOf(family, type))
  return (writer: MessageWriter, element: SetElement): void => {
    if (set.isInterval && key.length > 1) return void writeConcatenatedRange(writer, key, element)
    if (set.isInterval) return void writeRange(writer, element)
    writer.nested(elementAttributes.listElement, item => {
      writeData(item, elementAttributes.key, writeValue(key, element.key))
      if (element.timeoutMs !== undefined) item.be64(elementAttributes.timeout, BigInt(element.timeoutMs))
      // What is removed is named by its key.
      if (element.value === '') return
      if (set.data === 'verdict') writeVerdict(item, elementAttributes.data, verdictData(element.value as Verdict))
      else if (data.length > 0) writeData(item, elementAttributes.data, writeValue(data, element.value))
    })
  }
}

/** The range is in the last part: `10.0.0.1 . tcp . 80 . 192.0.2.0/24`. */
function writeConcatenatedRange(writer: MessageWriter, key: readonly DataType[], element: SetElement): void {
  const cut = element.key.lastIndexOf(' ') + 1
  const { first, last } = rangeOf(element.key.slice(cut))
  const start = writeValue(key.slice(0, -1), element.key.slice(0, cut - ' . '.length))
  writer.nested(elementAttributes.listElement, item => {
    writeData(item, elementAttributes.key, Buffer.concat([start, first]))
    writeData(item, elementAttributes.keyEnd, Buffer.concat([start, last]))
  })
}

/** Two elements: where the range begins, and where it has ended. */
function writeRange(writer: MessageWriter, element: SetElement): void {
  const { first, last } = rangeOf(element.key)
  const end = after(last)
  writer.nested(elementAttributes.listElement, item => {
    writeData(item, elementAttributes.key, first)
    if (end === undefined) item.bytesOf(elementAttributes.userData, openEnd)
  })
  if (end === undefined) return
  writer.nested(elementAttributes.listElement, item => {
    writeData(item, elementAttributes.key, end)
    item.be32(elementAttributes.flags, intervalEnd)
  })
}

/** The types of a set as the kernel has it; `data` undefined for sets, and for values that are no plain data. */
export interface SetTypes {
  readonly key: readonly DataType[]
  readonly data: readonly DataType[] | 'verdict' | undefined
  readonly isInterval: boolean
}

export interface ReadElement extends SetElement {
  readonly comment?: string
}

interface RawElement {
  readonly key: Buffer
  readonly keyEnd: Buffer | undefined
  readonly isEnd: boolean
  readonly value: string
  readonly comment: string | undefined
}

/** Reads the elements of one set: message by message, and ranges once all are there. */
export class ElementReader {
  readonly #types: SetTypes
  readonly #take: (element: ReadElement) => void
  readonly #ends: RawElement[] = []

  constructor(types: SetTypes, take: (element: ReadElement) => void) {
    this.#types = types
    this.#take = take
  }

  /** @param list the value of NFTA_SET_ELEM_LIST_ELEMENTS */
  read(list: ReturnType<Attributes['list']>): void {
    for (const { value } of list) {
      const element = this.#element(readAttributes(value))
      if (element) this.#add(element)
    }
  }

  /** All messages were read. */
  end(): void {
    const ends = this.#ends.sort((a, b) => Buffer.compare(a.key, b.key) || Number(b.isEnd) - Number(a.isEnd))
    ends.forEach((start, index) => {
      if (start.isEnd) return
      const next = ends[index + 1]
      const last = next ? before(next.key) : Buffer.alloc(start.key.length, 255)
      this.#take(withComment({ key: rangeText({ first: start.key, last }), value: start.value }, start.comment))
    })
  }

  #element(attributes: Attributes): RawElement | undefined {
    const key = attributes.nested(elementAttributes.key)?.get(elementAttributes.value)
    // An element for all keys that have none of their own has no key.
    if (key === undefined) return undefined
    return {
      key,
      keyEnd: attributes.nested(elementAttributes.keyEnd)?.get(elementAttributes.value),
      isEnd: ((attributes.be32(elementAttributes.flags) ?? 0) & intervalEnd) !== 0,
      value: this.#value(attributes.nested(elementAttributes.data)),
      comment: commentOf(attributes.get(elementAttributes.userData)),
    }
  }

  #value(data: Attributes | undefined): string {
    const { data: types } = this.#types
    if (data === undefined || types === undefined) return ''
    if (types === 'verdict') {
      const verdict = readVerdict(data)
      return verdict === undefined ? '' : verdictText(verdict)
    }
    const bytes = data.get(elementAttributes.value)
    if (bytes === undefined) throw new MalformedMessage('an element without its value')
    return readValue(types, bytes)
  }

  #add(element: RawElement): void {
    const { key, isInterval } = this.#types
    if (isInterval && key.length === 1) {
      // The receive buffer is used again before all are there.
      this.#ends.push({ ...element, key: Buffer.from(element.key) })
      return
    }
    const text = readValue(key, element.key)
    const { value, comment } = element
    const { length } = key.at(-1)!
    const isRange = isInterval && element.keyEnd !== undefined && (length === 4 || length === 16)
    if (!isRange) return void this.#take(withComment({ key: text, value }, comment))
    const cut = text.lastIndexOf(' ') + 1
    const range = rangeText({ first: element.key.subarray(-length), last: element.keyEnd!.subarray(-length) })
    this.#take(withComment({ key: `${text.slice(0, cut)}${range}`, value }, comment))
  }
}

function withComment(element: SetElement, comment: string | undefined): ReadElement {
  return comment === undefined ? element : { ...element, comment }
}

/** The first of nft's notes of an element is its comment. */
function commentOf(userData: Buffer | undefined): string | undefined {
  if (userData === undefined || userData.length < 2 || userData[0] !== 0) return undefined
  const text = userData.subarray(2, 2 + userData[1]!)
  const end = text.indexOf(0)
  return text.toString('utf8', 0, end < 0 ? text.length : end)
}
