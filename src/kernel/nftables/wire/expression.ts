/**
 * Writes expressions as attributes, and reads them back. A table says which attribute each field is, and of which kind.
 */

import { type Attributes, MalformedMessage, readAttributes } from '../../netlink/reader.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import type { Expression, VerdictData } from '../rules/expression.ts'

type Kind = 'number' | 'byte' | 'long' | 'text' | 'bytes' | 'data' | 'verdict'
type Known = Exclude<Expression, { name: 'other' }>
type FieldsOf<E> = { readonly [F in Exclude<keyof E, 'name'>]-?: readonly [attribute: number, kind: Kind] }
type OfName<N extends Known['name']> = Known extends infer E
  ? E extends { name: infer M }
    ? N extends M
      ? E
      : never
    : never
  : never
type Schema = { readonly [N in Known['name']]: FieldsOf<OfName<N>> }

const schema: Schema = {
  payload: {
    dreg: [1, 'number'],
    base: [2, 'number'],
    offset: [3, 'number'],
    length: [4, 'number'],
    sreg: [5, 'number'],
    checksumType: [6, 'number'],
    checksumOffset: [7, 'number'],
    checksumFlags: [8, 'number'],
  },
  meta: { dreg: [1, 'number'], key: [2, 'number'], sreg: [3, 'number'] },
  ct: { dreg: [1, 'number'], key: [2, 'number'], direction: [3, 'byte'], sreg: [4, 'number'] },
  cmp: { sreg: [1, 'number'], op: [2, 'number'], data: [3, 'data'] },
  bitwise: {
    sreg: [1, 'number'],
    dreg: [2, 'number'],
    length: [3, 'number'],
    mask: [4, 'data'],
    xor: [5, 'data'],
  },
  lookup: {
    set: [1, 'text'],
    sreg: [2, 'number'],
    dreg: [3, 'number'],
    setId: [4, 'number'],
    flags: [5, 'number'],
  },
  immediate: { dreg: [1, 'number'], data: [2, 'data'], verdict: [2, 'verdict'] },
  socket: { key: [1, 'number'], dreg: [2, 'number'] },
  fib: { dreg: [1, 'number'], result: [2, 'number'], flags: [3, 'number'] },
  numgen: { dreg: [1, 'number'], modulus: [2, 'number'], type: [3, 'number'], offset: [4, 'number'] },
  nat: {
    type: [1, 'number'],
    family: [2, 'number'],
    addressMin: [3, 'number'],
    addressMax: [4, 'number'],
    portMin: [5, 'number'],
    portMax: [6, 'number'],
    flags: [7, 'number'],
  },
  redir: { portMin: [1, 'number'], portMax: [2, 'number'], flags: [3, 'number'] },
  masq: { flags: [1, 'number'], portMin: [2, 'number'], portMax: [3, 'number'] },
  tproxy: { family: [1, 'number'], address: [2, 'number'], port: [3, 'number'] },
  reject: { type: [1, 'number'], code: [2, 'byte'] },
  dynset: { set: [1, 'text'], op: [3, 'number'], keyReg: [4, 'number'], timeout: [6, 'long'] },
  counter: { bytes: [1, 'long'], packets: [2, 'long'] },
  notrack: {},
  objref: { type: [1, 'number'], object: [2, 'text'] },
  match: { extension: [1, 'text'], info: [3, 'bytes'] },
  target: { extension: [1, 'text'], info: [3, 'bytes'] },
}

/** An expression without these is none that we know. */
const requiredFields: { readonly [N in Known['name']]: readonly string[] } = {
  payload: ['base', 'offset', 'length'],
  meta: ['key'],
  ct: ['key'],
  cmp: ['sreg', 'op', 'data'],
  bitwise: ['sreg', 'dreg', 'length'],
  lookup: ['set', 'sreg'],
  immediate: ['dreg'],
  socket: ['key', 'dreg'],
  fib: ['dreg', 'result', 'flags'],
  numgen: ['dreg', 'modulus', 'type'],
  nat: ['type', 'family'],
  redir: [],
  masq: [],
  tproxy: ['family'],
  reject: ['type'],
  dynset: ['set', 'op', 'keyReg'],
  counter: [],
  notrack: [],
  objref: ['object'],
  match: ['extension'],
  target: ['extension'],
}

const attributes = { listElement: 1, name: 1, data: 2, value: 1 } as const
export const verdictAttributes = { verdict: 2, code: 1, chain: 2 } as const

/** Writes a list of expressions as the value of an attribute. */
export function writeExpressions(writer: MessageWriter, attribute: number, expressions: readonly Expression[]): void {
  writer.nested(attribute, list => {
    for (const expression of expressions) list.nested(attributes.listElement, element => writeOne(element, expression))
  })
}

function writeOne(writer: MessageWriter, expression: Expression): void {
  if (expression.name === 'other') throw new TypeError(`an expression ${expression.type} cannot be written`)
  const values = expression as unknown as Readonly<Record<string, unknown>>
  writer.text(attributes.name, expression.name)
  writer.nested(attributes.data, data => {
    for (const [field, [attribute, kind]] of fieldsOf(expression.name)) {
      const value = values[field]
      if (value !== undefined) writeField(data, attribute, kind, value)
    }
  })
}

function fieldsOf(name: Known['name']): readonly (readonly [string, readonly [number, Kind]])[] {
  return Object.entries(schema[name])
}

function writeField(writer: MessageWriter, attribute: number, kind: Kind, value: unknown): void {
  switch (kind) {
    case 'number':
      return void writer.be32(attribute, value as number)
    case 'byte':
      return void writer.u8(attribute, value as number)
    case 'long':
      return void writer.be64(attribute, value as bigint)
    case 'text':
      return void writer.text(attribute, value as string)
    case 'bytes':
      return void writer.bytesOf(attribute, value as Uint8Array)
    case 'data':
      return void writeData(writer, attribute, value as Uint8Array)
    case 'verdict':
      return void writeVerdict(writer, attribute, value as VerdictData)
  }
}

/** Bytes of a register. */
function writeData(writer: MessageWriter, attribute: number, bytes: Uint8Array): void {
  writer.nested(attribute, data => void data.bytesOf(attributes.value, bytes))
}

export function writeVerdict(writer: MessageWriter, attribute: number, { code, chain }: VerdictData): void {
  writer.nested(attribute, data => {
    data.nested(verdictAttributes.verdict, verdict => {
      verdict.be32(verdictAttributes.code, code >>> 0)
      if (chain !== undefined) verdict.text(verdictAttributes.chain, chain)
    })
  })
}

/** Reads the expressions of a rule as the kernel dumps it. Throws MalformedMessage. */
export function readExpressions(list: ReturnType<Attributes['list']>): readonly Expression[] {
  return list.map(({ value }) => readOne(readAttributes(value)))
}

function readOne(expression: Attributes): Expression {
  const name = expression.text(attributes.name)
  if (name === undefined) throw new MalformedMessage('an expression without a name')
  const data = expression.nested(attributes.data)
  if (!Object.hasOwn(schema, name) || data === undefined) return { name: 'other', type: name }
  const known = name as Known['name']
  const fields = fieldsOf(known).flatMap(([field, [attribute, kind]]) => {
    const value = readField(data, attribute, kind)
    return value === undefined ? [] : [[field, value] as const]
  })
  const isWhole = requiredFields[known].every(required => fields.some(([field]) => field === required))
  if (!isWhole) return { name: 'other', type: name }
  return { name: known, ...Object.fromEntries(fields) } as unknown as Expression
}

function readField(data: Attributes, attribute: number, kind: Kind): unknown {
  switch (kind) {
    case 'number':
      return data.be32(attribute)
    case 'byte':
      return data.u8(attribute)
    case 'long':
      return data.be64(attribute)
    case 'text':
      return data.text(attribute)
    case 'bytes': {
      const bytes = data.get(attribute)
      return bytes && Uint8Array.from(bytes)
    }
    case 'data':
      return readData(data.nested(attribute))
    case 'verdict':
      return readVerdict(data.nested(attribute))
  }
}

/** Returns a copy, since the source is the receive buffer. */
function readData(data: Attributes | undefined): Uint8Array | undefined {
  const bytes = data?.get(attributes.value)
  return bytes && Uint8Array.from(bytes)
}

function readVerdict(data: Attributes | undefined): VerdictData | undefined {
  const verdict = data?.nested(verdictAttributes.verdict)
  const code = verdict?.be32(verdictAttributes.code)
  if (verdict === undefined || code === undefined) return undefined
  const chain = verdict.text(verdictAttributes.chain)
  return { code: code | 0, ...(chain !== undefined && { chain }) }
}
