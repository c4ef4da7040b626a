/**
 * Rules as text for people, in nft's words, from the expressions that the kernel has: of our own rules and, as far as
 * `verify` asks for them, of others'. What is not known is printed as `[its name]`.
 */

import { ipText } from '../../../services/ipbytes.ts'
import type { Family } from '../../elements.ts'
import { anyAddress } from '../../external.ts'
import { addressOffsets } from './compile.ts'
import {
  comparisons,
  ctKeys,
  type Expression,
  fib,
  hooksFamily,
  metaKeys,
  natFlags,
  payloadBases,
  protocolNumbers,
  rejects,
  tcpFlags,
  type VerdictData,
  verdictCodes,
} from './expression.ts'

/** The content of a set that is a part of a rule, as `{ 0 : 10.1.0.1 . 80, 1 : 10.1.0.2 . 80 }`; undefined for others. */
export type InlineSets = (name: string) => string | undefined

/** What a register holds. */
type Value =
  | { readonly kind: 'field'; readonly text: string; readonly of: Field; readonly length: number }
  | { readonly kind: 'masked'; readonly field: Value; readonly mask: Uint8Array; readonly xor: Uint8Array }
  | { readonly kind: 'constant'; readonly bytes: Uint8Array }
  | { readonly kind: 'text'; readonly text: string }

type Field =
  | 'address'
  | 'port'
  | 'l4proto'
  | 'mark'
  | 'state'
  | 'status'
  | 'direction'
  | 'fib'
  | 'name'
  | 'number'
  | 'tcp flags'

export function printRule(family: Family, expressions: readonly Expression[], inline: InlineSets = () => undefined) {
  return new Printer(family, inline).print(expressions)
}

class Printer {
  readonly #family: Family
  readonly #inline: InlineSets
  readonly #words: string[] = []
  /** By the bytes at which their registers begin; of those loaded since the last statement. */
  #values = new Map<number, Value>()
  /** A protocol that was asked for, which is a word of its own unless a port says it. */
  #transport: { readonly name: string; readonly at: number } | undefined

  constructor(family: Family, inline: InlineSets) {
    this.#family = family
    this.#inline = inline
  }

  print(expressions: readonly Expression[]): string {
    for (const expression of expressions) this.#take(expression)
    return this.#words.filter(word => word !== '').join(' ')
  }

  #take(expression: Expression): void {
    switch (expression.name) {
      case 'payload':
        if (expression.sreg !== undefined) return void this.#say(this.#setting(expression, expression.sreg))
        return void this.#load(expression.dreg!, this.#payload(expression.base, expression.offset, expression.length))
      case 'meta':
        if (expression.sreg !== undefined) return void this.#say(this.#setMark('meta', expression.sreg))
        return void this.#load(expression.dreg!, metaField(expression.key))
      case 'ct':
        if (expression.sreg !== undefined) return void this.#say(this.#setMark('ct', expression.sreg))
        return void this.#load(expression.dreg!, ctField(expression.key))
      case 'fib': {
        const of = expression.flags & fib.ofSource ? 'saddr' : 'daddr'
        return void this.#load(expression.dreg, field(`fib ${of} type`, 'fib', 4))
      }
      case 'socket':
        return void this.#load(expression.dreg, field(socketTexts[expression.key] ?? 'socket', 'number', 1))
      case 'numgen': {
        const offset = expression.offset ? ` offset ${expression.offset}` : ''
        return void this.#load(expression.dreg, field(`numgen random mod ${expression.modulus}${offset}`, 'number', 4))
      }
      case 'bitwise':
        return void this.#load(expression.dreg, this.#bitwise(expression))
      case 'immediate':
        if (expression.verdict) return void this.#say(verdictText(expression.verdict))
        return void this.#load(expression.dreg, { kind: 'constant', bytes: expression.data! })
      case 'cmp':
        return void this.#compare(expression.sreg, expression.op, expression.data)
      case 'lookup':
        return void this.#lookUp(expression)
      case 'notrack':
        return void this.#say('notrack')
      case 'objref':
        return void this.#say(`counter name ${expression.object}`)
      case 'match':
      case 'target':
        return void this.#say(`[${expression.name} ${expression.extension}]`)
      case 'other':
        // Some versions of nft change the byte order of a single byte.
        if (expression.type !== 'byteorder') this.#say(`[${expression.type}]`)
        return
      default:
        return void this.#say(this.#action(expression))
    }
  }

  #say(text: string): void {
    this.#words.push(text)
    this.#values = new Map()
  }

  #load(register: number, value: Value): void {
    this.#values.set(startOf(register), value)
  }

  #value(register: number): Value | undefined {
    return this.#values.get(startOf(register))
  }

  #payload(base: number, offset: number, length: number): Value {
    const { saddr, daddr } = addressOffsets[this.#family]
    if (base === payloadBases.network && (offset === saddr || offset === daddr)) {
      return field(`${this.#family} ${offset === saddr ? 'saddr' : 'daddr'}`, 'address', length)
    }
    if (base === payloadBases.transport && (offset === 0 || offset === 2) && length === 2) {
      return field(`${this.#saidTransport()} ${offset === 0 ? 'sport' : 'dport'}`, 'port', 2)
    }
    if (
      base === payloadBases.transport &&
      offset === tcpFlags.offset &&
      length === 1 &&
      this.#transport?.name === 'tcp'
    ) {
      this.#saidTransport()
      return field('tcp flags', 'tcp flags', 1)
    }
    return field(`@${base},${offset * 8},${length * 8}`, 'number', length)
  }

  #saidTransport(): string {
    if (this.#transport === undefined) return 'th'
    this.#words[this.#transport.at] = ''
    return this.#transport.name
  }

  #bitwise({ sreg, mask, xor }: Extract<Expression, { name: 'bitwise' }>): Value {
    const value = this.#value(sreg)
    if (value === undefined || mask === undefined || xor === undefined) return { kind: 'text', text: '[bitwise]' }
    const isMasked = value.kind === 'field' && value.of === 'address' && isZero(mask) && isZero(xor)
    if (isMasked) return { ...value, text: `${value.text} & ${anyAddress[this.#family]}` }
    return { kind: 'masked', field: value, mask, xor }
  }

  #compare(register: number, op: number, data: Uint8Array): void {
    const value = this.#value(register)
    if (value?.kind === 'field' && value.of === 'l4proto' && op === comparisons.eq) {
      const name = protocolName(data[0]!)
      this.#transport = { name, at: this.#words.length }
      return void this.#say(`${value.text} ${name}`)
    }
    const operator = operators[op] ?? '?'
    if (value?.kind === 'field') return void this.#say(`${value.text} ${operator}${constantText(value, data)}`)
    if (value?.kind === 'masked') return void this.#say(this.#compareMasked(value, op, data))
    this.#say('[cmp]')
  }

  #compareMasked({ field, mask }: Extract<Value, { kind: 'masked' }>, op: number, data: Uint8Array): string {
    if (field.kind !== 'field') return '[cmp]'
    const not = op === comparisons.neq
    if (field.of === 'address') return `${field.text} ${not ? '!= ' : ''}${ipText(data)}/${prefixLength(mask)}`
    const flags = flagNames[field.of]
    const [bits, value] = [wordOf(mask), wordOf(data)]
    if (flags) {
      if (not && value === 0) return `${field.text} ${flagsText(flags, bits, ',')}`
      const mask = flagsText(flags, bits, ' | ')
      return `${field.text} & ${mask.includes('|') ? `(${mask})` : mask} ${not ? '!=' : '=='} ${flagsText(flags, value, ' | ')}`
    }
    return `${field.text} & ${hex(bits)} ${not ? '!=' : '=='} ${hex(value)}`
  }

  /** Several values behind each other are one key. */
  #keyText(register: number): string {
    const start = startOf(register)
    const parts = [...this.#values].filter(([at]) => at >= start).sort(([a], [b]) => a - b)
    return parts.map(([, value]) => (value.kind === 'field' ? value.text : '[key]')).join(' . ')
  }

  #lookUp({ set, sreg, dreg, flags = 0 }: Extract<Expression, { name: 'lookup' }>): void {
    const key = this.#keyText(sreg)
    const name = this.#inline(set) ?? `@${set}`
    if (dreg === undefined) return void this.#say(`${key} ${flags & 1 ? '!= ' : ''}${name}`)
    if (dreg === 0) return void this.#say(`${key} vmap ${name}`)
    this.#values = new Map([[startOf(dreg), { kind: 'text', text: `${key} map ${name}` }]])
  }

  #setMark(of: 'meta' | 'ct', register: number): string {
    const value = this.#value(register)
    const target = `${of} mark set`
    if (value?.kind === 'constant') return `${target} ${hex(wordOf(value.bytes))}`
    if (value?.kind !== 'masked' || value.field.kind !== 'field') return `${target} [value]`
    const [mask, xor] = [wordOf(value.mask), wordOf(value.xor)]
    const { text } = value.field
    if (xor === 0) return `${target} ${text} & ${hex(mask)}`
    if (mask === 0xffff_ffff) return `${target} ${text} ^ ${hex(xor)}`
    if ((~mask & 0xffff_ffff) >>> 0 === xor) return `${target} ${text} | ${hex(xor)}`
    return `${target} (${text} & ${hex(mask)}) ^ ${hex(xor)}`
  }

  #setting({ base, offset, length }: Extract<Expression, { name: 'payload' }>, register: number): string {
    const target = this.#payload(base, offset, length)
    const value = this.#value(register)
    if (target.kind !== 'field' || value?.kind !== 'constant') return '[payload set]'
    return `${target.text} set ${constantText(target, value.bytes)}`
  }

  #action(expression: Action): string {
    switch (expression.name) {
      case 'nat':
        return this.#translation(expression)
      case 'redir':
        return `redirect${expression.portMin === undefined ? '' : ` to :${this.#portText(expression.portMin)}`}`
      case 'masq':
        return `masquerade${natOptions(expression.flags)}`
      case 'tproxy':
        return `tproxy to :${expression.port === undefined ? '' : this.#portText(expression.port)}`
      case 'reject':
        return rejectText(this.#family, expression.type, expression.code)
      case 'dynset': {
        const seconds = expression.timeout ? ` timeout ${durationText(expression.timeout)}` : ''
        return `${dynsetVerbs[expression.op] ?? 'add'} @${expression.set} { ${this.#keyText(expression.keyReg)}${seconds} }`
      }
      case 'counter':
        return `counter packets ${expression.packets ?? 0n} bytes ${expression.bytes ?? 0n}`
    }
  }

  #translation({ type, family, addressMin, portMin, flags }: Extract<Expression, { name: 'nat' }>): string {
    const verb = type === 0 ? 'snat' : 'dnat'
    const options = natOptions(flags)
    const address = addressMin === undefined ? undefined : this.#value(addressMin)
    if (address?.kind === 'text')
      return `${verb} ${family === hooksFamily.ip ? 'ip' : 'ip6'} to ${address.text}${options}`
    if (address?.kind !== 'constant') return `${verb} to [value]`
    const ip = ipText(address.bytes)
    if (portMin === undefined) return `${verb} to ${ip}${options}`
    return `${verb} to ${ip.includes(':') ? `[${ip}]` : ip}:${this.#portText(portMin)}${options}`
  }

  #portText(register: number): string {
    const value = this.#value(register)
    return value?.kind === 'constant' ? String(Buffer.from(value.bytes).readUInt16BE()) : '[port]'
  }
}

type Action = Extract<Expression, { name: 'nat' | 'redir' | 'masq' | 'tproxy' | 'reject' | 'dynset' | 'counter' }>

const socketTexts: Readonly<Record<number, string>> = {
  0: 'socket transparent',
  1: 'socket mark',
  2: 'socket wildcard',
}
const dynsetVerbs: Readonly<Record<number, string>> = { 0: 'add', 1: 'update', 2: 'delete' }
const operators: Readonly<Record<number, string>> = { 0: '', 1: '!= ', 2: '< ', 3: '<= ', 4: '> ', 5: '>= ' }

/** The byte of the register file at which a register begins. */
function startOf(register: number): number {
  return register >= 8 ? (register - 8) * 4 : (register - 1) * 16
}

function field(text: string, of: Field, length: number): Value {
  return { kind: 'field', text, of, length }
}

function metaField(key: number): Value {
  switch (key) {
    case metaKeys.mark:
      return field('meta mark', 'mark', 4)
    case metaKeys.l4proto:
      return field('meta l4proto', 'l4proto', 1)
    case metaKeys.protocol:
      return field('meta protocol', 'number', 2)
    case metaKeys.iifname:
      return field('iifname', 'name', 16)
    case metaKeys.oifname:
      return field('oifname', 'name', 16)
    case metaKeys.iif:
      return field('iif', 'number', 4)
    case metaKeys.oif:
      return field('oif', 'number', 4)
    case metaKeys.iifkind:
      return field('meta iifkind', 'name', 16)
    default:
      return field(`meta ${key}`, 'number', 4)
  }
}

function ctField(key: number): Value {
  switch (key) {
    case ctKeys.state:
      return field('ct state', 'state', 4)
    case ctKeys.status:
      return field('ct status', 'status', 4)
    case ctKeys.mark:
      return field('ct mark', 'mark', 4)
    case ctKeys.direction:
      return field('ct direction', 'direction', 1)
    case ctKeys.destination.ip:
      return field('ct original ip daddr', 'address', 4)
    case ctKeys.destination.ip6:
      return field('ct original ip6 daddr', 'address', 16)
    default:
      return field(`ct ${key}`, 'number', 4)
  }
}

const addressTypes: Readonly<Record<number, string>> = { 1: 'unicast', 2: 'local', 3: 'broadcast', 5: 'multicast' }

function constantText({ text, of, length }: Extract<Value, { kind: 'field' }>, bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes)
  switch (of) {
    case 'address':
      return addressWithPrefix(buffer, length, text.startsWith('ip6 ') ? 16 : 4)
    case 'port':
      return String(buffer.readUInt16BE())
    case 'l4proto':
      return protocolName(bytes[0]!)
    case 'mark':
      return hex(wordOf(bytes))
    case 'direction':
      return bytes[0] === 0 ? 'original' : 'reply'
    case 'fib':
      return addressTypes[wordOf(bytes)] ?? String(wordOf(bytes))
    case 'name': {
      const end = buffer.indexOf(0)
      return end < 0 ? `"${buffer}*"` : `"${buffer.toString('utf8', 0, end)}"`
    }
    case 'state':
    case 'status':
    case 'tcp flags':
      return flagsText(flagNames[of]!, wordOf(bytes), ',')
    case 'number':
      return bytes.length === 4 || bytes.length === 1 ? String(wordOf(bytes)) : `0x${buffer.toString('hex')}`
  }
}

/** `127.0.0.0/8` for its first byte. */
function addressWithPrefix(bytes: Buffer, length: number, whole: number): string {
  const address = ipText(Buffer.concat([bytes, Buffer.alloc(Math.max(0, whole - bytes.length))]))
  return bytes.length === whole ? address : `${address}/${length * 8}`
}

const flagNames: Readonly<Partial<Record<Field, Readonly<Record<number, string>>>>> = {
  state: { 1: 'invalid', 2: 'established', 4: 'related', 8: 'new', 64: 'untracked' },
  'tcp flags': { 1: 'fin', 2: 'syn', 4: 'rst', 8: 'psh', 16: 'ack', 32: 'urg' },
  status: { 1: 'expected', 2: 'seen-reply', 4: 'assured', 8: 'confirmed', 16: 'snat', 32: 'dnat', 512: 'dying' },
}

function flagsText(names: Readonly<Record<number, string>>, bits: number, separator: string): string {
  const found = Object.entries(names).filter(([bit]) => (bits & Number(bit)) !== 0)
  const known = found.reduce((sum, [bit]) => sum | Number(bit), 0)
  return known === bits && found.length > 0 ? found.map(([, name]) => name).join(separator) : hex(bits)
}

const protocolTexts = new Map<number, string>(Object.entries(protocolNumbers).map(([name, number]) => [number, name]))

export function protocolName(number: number): string {
  return protocolTexts.get(number) ?? String(number)
}

function prefixLength(mask: Uint8Array): number {
  const bits = [...mask].map(byte => byte.toString(2).padStart(8, '0')).join('')
  const zero = bits.indexOf('0')
  return zero < 0 ? bits.length : zero
}

export function verdictText({ code, chain }: VerdictData): string {
  const [verb] = Object.entries(verdictCodes).find(([, number]) => number === code) ?? ['[verdict]']
  return chain === undefined ? verb : `${verb} ${chain}`
}

function rejectText(family: Family, type: number, code: number | undefined): string {
  if (type === rejects.reset.type) return 'reject with tcp reset'
  if (type === rejects[family].type && code === rejects[family].code) return 'reject'
  return `reject with ${type === 2 ? 'icmpx' : 'icmp'} ${code}`
}

function natOptions(flags = 0): string {
  const words = [
    flags & natFlags.random ? 'random' : '',
    flags & natFlags.fullyRandom ? 'fully-random' : '',
    flags & natFlags.persistent ? 'persistent' : '',
  ].filter(word => word !== '')
  return words.length === 0 ? '' : ` ${words.join(',')}`
}

/** 5,400,000 ms → `1h30m` */
export function durationText(milliseconds: bigint): string {
  const seconds = Number(milliseconds / 1000n)
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
    [Number(milliseconds % 1000n), 'ms'],
  ] as const
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('')
}

function wordOf(bytes: Uint8Array): number {
  return bytes.length === 4 ? Buffer.from(bytes).readUInt32LE() : bytes[0]!
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every(byte => byte === 0)
}
