/** Reads rules of anybody's from the expressions that the kernel has of them: follows what each register holds. */

import { ipText } from '../../../net/ipbytes.ts'
import type { Family } from '../../family.ts'
import {
  comparisons,
  type Expression,
  fib,
  hooksFamily,
  natFlags,
  payloadBases,
  tcpFlags,
} from '../rules/expression.ts'
import { addressOffsets } from '../rules/registers.ts'
import type { Marked } from '../rules/statement.ts'
import type { Clause, Clauses, Comparison, Destination, InlineSet, Key, NatOptions, Port } from './clause.ts'
import {
  ctFields,
  type Field,
  isAddress,
  metaFields,
  numberOf,
  otherField,
  portOf,
  readMasked,
  readValue,
  socketFields,
} from './fields.ts'
import { protocolName } from './words.ts'

/** The content of a set that is a part of a rule; undefined for others. */
export type InlineSets = (name: string) => InlineSet | undefined

/** The content of a register. */
type Value =
  | { readonly kind: 'field'; readonly field: Field }
  | { readonly kind: 'masked'; readonly field: Field; readonly mask: Uint8Array; readonly xor: Uint8Array }
  | { readonly kind: 'constant'; readonly bytes: Uint8Array }
  | { readonly kind: 'found'; readonly to: Destination }
  | { readonly kind: 'unknown' }

type Of<Name extends Expression['name']> = Extract<Expression, { name: Name }>

export function readRule(
  family: Family,
  expressions: readonly Expression[],
  inline: InlineSets = () => undefined,
): Clauses {
  const reader = new Reader(family, inline)
  for (const expression of expressions) reader.take(expression)
  return reader.clauses
}

class Reader {
  readonly #family: Family
  readonly #inline: InlineSets
  /** By the bytes at which their registers begin; of those loaded since the last clause. */
  #values = new Map<number, Value>()
  /** Asks for a protocol, which goes without saying where a port is of that protocol. */
  #transport: { readonly name: string; readonly clause: Clause } | undefined
  #clauses: Clause[] = []

  constructor(family: Family, inline: InlineSets) {
    this.#family = family
    this.#inline = inline
  }

  get clauses(): Clauses {
    return this.#clauses
  }

  take(expression: Expression): void {
    switch (expression.name) {
      case 'payload': {
        const field = this.#payload(expression)
        if (expression.sreg !== undefined) return void this.#add(this.#setting(field, expression.sreg))
        return void this.#load(expression.dreg!, field)
      }
      case 'meta':
        if (expression.sreg !== undefined) return void this.#add(this.#setMark('meta', expression.sreg))
        return void this.#load(expression.dreg!, metaFields[expression.key] ?? otherField(`meta ${expression.key}`))
      case 'ct':
        if (expression.sreg !== undefined) return void this.#add(this.#setMark('ct', expression.sreg))
        return void this.#load(expression.dreg!, ctField(expression))
      case 'fib':
        return void this.#load(expression.dreg, fibField(expression))
      case 'socket':
        return void this.#load(expression.dreg, socketFields[expression.key] ?? { name: 'socket' })
      case 'numgen':
        return void this.#load(expression.dreg, numberField(expression))
      case 'bitwise':
        return void this.#keep(expression.dreg, this.#bitwise(expression))
      case 'immediate':
        if (expression.verdict) return void this.#add({ kind: 'verdict', verdict: expression.verdict })
        return void this.#keep(expression.dreg, { kind: 'constant', bytes: expression.data! })
      case 'cmp':
        return void this.#compare(expression)
      case 'lookup':
        return void this.#lookUp(expression)
      case 'other':
        // Some versions of nft change the byte order of a single byte.
        if (expression.type !== 'byteorder') this.#add({ kind: 'other', name: expression.type })
        return
      default:
        return void this.#add(this.#action(expression))
    }
  }

  #add(clause: Clause): void {
    this.#clauses.push(clause)
    this.#values = new Map()
  }

  #load(register: number, field: Field): void {
    this.#keep(register, { kind: 'field', field })
  }

  #keep(register: number, value: Value): void {
    this.#values.set(startOf(register), value)
  }

  #value(register: number): Value | undefined {
    return this.#values.get(startOf(register))
  }

  #payload({ base, offset, length }: Of<'payload'>): Field {
    const { saddr, daddr } = addressOffsets[this.#family]
    if (base === payloadBases.network && (offset === saddr || offset === daddr)) {
      return { name: offset === saddr ? 'saddr' : 'daddr', isMasked: false }
    }
    if (base === payloadBases.transport && (offset === 0 || offset === 2) && length === 2) {
      return { name: offset === 0 ? 'sport' : 'dport', transport: this.#saidTransport() }
    }
    const isFlags = base === payloadBases.transport && offset === tcpFlags.offset && length === 1
    if (isFlags && this.#transport?.name === 'tcp') {
      this.#saidTransport()
      return { name: 'tcp flags' }
    }
    return otherField(`@${base},${offset * 8},${length * 8}`)
  }

  #saidTransport(): string {
    const said = this.#transport
    if (said === undefined) return 'th'
    this.#clauses = this.#clauses.filter(clause => clause !== said.clause)
    return said.name
  }

  #bitwise({ sreg, mask, xor }: Of<'bitwise'>): Value {
    const value = this.#value(sreg)
    if (value?.kind !== 'field' || mask === undefined || xor === undefined) return { kind: 'unknown' }
    const { field } = value
    const isAddress = field.name === 'saddr' || field.name === 'daddr'
    if (isAddress && isZero(mask) && isZero(xor)) return { kind: 'field', field: { ...field, isMasked: true } }
    return { kind: 'masked', field, mask, xor }
  }

  #compare({ sreg, op: number, data }: Of<'cmp'>): void {
    const value = this.#value(sreg)
    const op = comparisonNames.get(number)
    const isMasked = value?.kind === 'masked' && isZero(value.xor)
    if (op === undefined || !(value?.kind === 'field' || isMasked)) return void this.#add(cannotRead('cmp'))
    const { field } = value
    const read = isMasked ? readMasked(field, value.mask, data) : { value: readValue(field, data, this.#family) }
    const clause: Clause = read === undefined ? cannotRead('cmp') : { kind: 'compare', field, op, ...read }
    this.#add(clause)
    const isTransport = value.kind === 'field' && field.name === 'meta l4proto' && op === 'eq'
    if (isTransport && data.length === 1) this.#transport = { name: protocolName(data[0]!), clause }
  }

  /** Several values behind each other are one key. */
  #key(register: number): Key {
    const start = startOf(register)
    const parts = [...this.#values].filter(([at]) => at >= start).sort(([a], [b]) => a - b)
    return parts.map(([, value]) => (value.kind === 'field' ? value.field : otherField('[key]')))
  }

  #lookUp({ set: name, sreg, dreg, flags = 0 }: Of<'lookup'>): void {
    const key = this.#key(sreg)
    const set = this.#inline(name) ?? name
    if (dreg === undefined) return void this.#add({ kind: 'lookup', key, set, isNot: (flags & 1) !== 0 })
    if (dreg === 0) return void this.#add({ kind: 'verdict map', key, map: set })
    this.#values = new Map([[startOf(dreg), { kind: 'found', to: { key, map: set, family: this.#family } }]])
  }

  #setMark(of: Marked, register: number): Clause {
    const value = this.#value(register)
    const from = value?.kind === 'masked' ? value.field : undefined
    const mask = value?.kind === 'masked' ? numberOf(value.mask) : 0
    const xor = value?.kind === 'masked' ? numberOf(value.xor) : value?.kind === 'constant' && numberOf(value.bytes)
    const isKnown = typeof mask === 'number' && typeof xor === 'number'
    return { kind: 'set mark', of, to: isKnown ? { from, mask, xor } : undefined }
  }

  #setting(field: Field, register: number): Clause {
    const value = this.#value(register)
    if (field.name === 'other' || value?.kind !== 'constant') return cannotRead('payload set')
    return { kind: 'set field', field, value: readValue(field, value.bytes, this.#family) }
  }

  #action(expression: Action): Clause {
    switch (expression.name) {
      case 'nat': {
        const verb = expression.type === 0 ? 'snat' : 'dnat'
        return { kind: 'nat', verb, to: this.#destination(expression), options: natOptions(expression.flags) }
      }
      case 'redir':
        return { kind: 'redirect', port: this.#port(expression.portMin, expression.portMax) }
      case 'tproxy':
        return { kind: 'tproxy', port: this.#port(expression.port) }
      case 'masq':
        return { kind: 'masquerade', options: natOptions(expression.flags) }
      case 'reject':
        return { kind: 'reject', type: expression.type, code: expression.code }
      case 'dynset': {
        const { set, op, keyReg, timeout = 0n } = expression
        const timeoutMs = timeout === 0n ? undefined : Number(timeout)
        return { kind: 'update', do: updates[op] ?? 'add', set, key: this.#key(keyReg), timeoutMs }
      }
      case 'counter':
        return { kind: 'counter', packets: expression.packets ?? 0n, bytes: expression.bytes ?? 0n }
      case 'objref':
        return { kind: 'named counter', name: expression.object ?? '' }
      case 'notrack':
        return { kind: 'notrack' }
      case 'match':
      case 'target':
        return cannotRead(`${expression.name} ${expression.extension}`)
    }
  }

  #destination({ family, addressMin, addressMax = addressMin, portMin, portMax }: Of<'nat'>): Destination {
    const isOne = addressMin !== undefined && addressMin === addressMax
    const value = isOne ? this.#value(addressMin) : undefined
    if (value?.kind === 'found') {
      return value.to && { ...value.to, family: family === hooksFamily.ip ? 'ip' : 'ip6' }
    }
    if (value?.kind !== 'constant' || !isAddress(value.bytes)) return undefined
    return { ip: ipText(value.bytes), port: this.#port(portMin, portMax) }
  }

  /** Returns the port; the kernel chooses one of a range. */
  #port(register: number | undefined, last = register): Port {
    if (register === undefined) return undefined
    const value = register === last ? this.#value(register) : undefined
    return (value?.kind === 'constant' ? portOf(value.bytes) : undefined) ?? 'unknown'
  }
}

type Action = Of<
  ('nat' | 'redir' | 'masq' | 'tproxy' | 'reject' | 'dynset') | ('counter' | 'objref' | 'notrack' | 'match' | 'target')
>

/** NFT_NG_RANDOM. */
const randomNumber = 1
const updates: Readonly<Record<number, 'add' | 'update' | 'delete'>> = { 0: 'add', 1: 'update', 2: 'delete' }
const comparisonNames = new Map(Object.entries(comparisons).map(([name, op]) => [op as number, name as Comparison]))

/** Destinations are those of one direction. */
function ctField({ key, direction }: Of<'ct'>): Field {
  const field = direction === undefined || direction === 0 ? ctFields[key] : undefined
  return field ?? otherField(`ct ${key}`)
}

function fibField({ result, flags }: Of<'fib'>): Field {
  if (result === fib.addressType && flags === fib.ofSource) return { name: 'address type', of: 'saddr' }
  if (result === fib.addressType && flags === fib.ofDestination) return { name: 'address type', of: 'daddr' }
  return otherField(`fib ${flags} ${result}`)
}

function numberField({ type, modulus: mod, offset = 0 }: Of<'numgen'>): Field {
  return type === randomNumber ? { name: 'random', mod, offset } : otherField(`numgen inc mod ${mod}`)
}

/** The kernel's other flags say what else of the expression is there. */
function natOptions(flags = 0): NatOptions {
  return [
    ...(flags & natFlags.random ? (['random'] as const) : []),
    ...(flags & natFlags.fullyRandom ? (['fully-random'] as const) : []),
    ...(flags & natFlags.persistent ? (['persistent'] as const) : []),
  ]
}

/** Returns the byte of the register file at which a register begins. */
function startOf(register: number): number {
  return register >= 8 ? (register - 8) * 4 : (register - 1) * 16
}

function cannotRead(name: string): Clause {
  return { kind: 'other', name }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every(byte => byte === 0)
}
