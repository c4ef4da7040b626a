/**
 * Compiles rules to the expressions that the kernel evaluates: register by register those that nft makes of the text.
 */

import { ipBytes } from '../../../net/ipbytes.ts'
import type { Family } from '../../family.ts'
import {
  counterType,
  ctKeys,
  type Expression,
  fib,
  hooksFamily,
  linkKindLength,
  metaKeys,
  natFlags,
  payloadBases,
  rejects,
  tcpFlags,
} from './expression.ts'
import {
  addressOffsets,
  be16,
  compare,
  first,
  isTransport,
  load,
  loadKey,
  loadMark,
  loadPort,
  mask,
  padded,
  registerAt,
  second,
  word,
} from './registers.ts'
import type { Endpoint, Marked, Rule, Statement } from './statement.ts'

/** A map within a rule: the kernel makes and removes it with the rule. */
export interface InlineMap {
  readonly family: Family
  readonly endpoints: readonly Endpoint[]
}

export interface CompiledRule {
  readonly expressions: readonly Expression[]
  /** The set of a `lookup` without a name. */
  readonly map: InlineMap | undefined
}

/** The name, which the kernel completes with a number. */
export const inlineMapName = '__map%d'

export function compileRule(family: Family, rule: Rule): CompiledRule {
  const expressions = rule.flatMap(statement => compile(family, statement))
  const inline = rule.find(statement => statement.kind === 'dnat to one of')
  return { expressions, map: inline && { family, endpoints: inline.endpoints } }
}

function compile(family: Family, statement: Statement): readonly Expression[] {
  switch (statement.kind) {
    case 'lookup': {
      const { key, set, isNot } = statement
      return [...loadKey(family, key), { name: 'lookup', set, sreg: first, ...(isNot && { flags: 1 }) }]
    }
    case 'verdict map':
      return [...loadKey(family, statement.key), { name: 'lookup', set: statement.map, sreg: first, dreg: 0 }]
    case 'verdict':
      return [{ name: 'immediate', dreg: 0, verdict: statement.verdict }]
    case 'mark':
      return hasBits(loadMark(statement.of), statement.bit, statement.isNot)
    case 'set mark':
      return writeMark(statement.of, statement.bit, statement.on)
    case 'transport':
      return isTransport(statement.transport)
    case 'port':
      return [...isTransport(statement.transport), loadPort(first), compare('eq', be16(statement.port))]
    case 'first segment':
      return compareFlags(tcpFlags.syn | tcpFlags.ack, tcpFlags.syn)
    case 'not ending':
      return [...isTransport('tcp'), ...compareFlags(tcpFlags.fin | tcpFlags.rst, 0)]
    case 'address':
      return compareAddress(family, statement.of, statement.range, statement.isNot)
    case 'local address': {
      const flags = statement.of === 'saddr' ? fib.ofSource : fib.ofDestination
      return [{ name: 'fib', dreg: first, result: fib.addressType, flags }, compare('eq', word(fib.local))]
    }
    case 'new connection':
      return [load('ct', ctKeys.state), mask(ctNew), compare('neq', word(0))]
    case 'direction':
      return [load('ct', ctKeys.direction), compare('eq', new Uint8Array([statement.direction === 'original' ? 0 : 1]))]
    case 'original destination':
      return [
        { name: 'ct', key: ctKeys.destination[family], direction: 0, dreg: first },
        compare('eq', ipBytes(statement.ip)),
      ]
    case 'translated':
      return [load('ct', ctKeys.status), mask(ctTranslated), compare('neq', word(statement.isNot ? ctTranslated : 0))]
    case 'from bridge':
      return [load('meta', metaKeys.iifkind), compare('eq', padded('bridge', linkKindLength))]
    case 'interface':
      return compareInterface(statement.of, statement.name, statement.isNot)
    case 'opaque socket':
      return [{ name: 'socket', key: 0, dreg: first }, compare('eq', new Uint8Array([0]))]
    case 'random zero':
      return [{ name: 'numgen', dreg: first, modulus: statement.mod, type: 1 }, compare('eq', word(0))]
    default:
      return act(family, statement)
  }
}

type Action = Extract<
  Statement,
  {
    kind:
      | ('tproxy' | 'redirect' | 'masquerade' | 'reject' | 'remember' | 'counter' | 'notrack' | 'set address')
      | ('dnat' | 'dnat by map' | 'dnat to one of')
  }
>

function act(family: Family, statement: Action): readonly Expression[] {
  switch (statement.kind) {
    case 'tproxy':
      return [
        { name: 'immediate', dreg: first, data: be16(statement.port) },
        { name: 'tproxy', family: hooksFamily[family], port: first },
      ]
    case 'redirect':
      return [
        { name: 'immediate', dreg: first, data: be16(statement.port) },
        { name: 'redir', portMin: first, flags: natFlags.portGiven },
      ]
    case 'masquerade':
      return [{ name: 'masq', flags: natFlags.fullyRandom }]
    case 'reject': {
      const { type, code } = statement.with === 'tcp reset' ? rejects.reset : rejects[family]
      return [{ name: 'reject', type, code }]
    }
    case 'dnat':
      return [
        { name: 'immediate', dreg: first, data: ipBytes(statement.to.ip) },
        { name: 'immediate', dreg: second, data: be16(statement.to.port) },
        { ...translate(family, second), flags: natFlags.portGiven },
      ]
    case 'dnat by map':
      return [
        ...loadKey(family, statement.key),
        { name: 'lookup', set: statement.map, sreg: first, dreg: first },
        translate(family, registerAt(addressOffsets[family].length)),
      ]
    case 'dnat to one of':
      return [
        { name: 'numgen', dreg: first, modulus: statement.endpoints.length, type: 1 },
        { name: 'lookup', set: inlineMapName, sreg: first, dreg: first },
        translate(family, registerAt(addressOffsets[family].length)),
      ]
    case 'remember':
      return [
        ...loadKey(family, statement.key),
        { name: 'dynset', set: statement.set, op: 1, keyReg: first, timeout: BigInt(statement.seconds) * 1000n },
      ]
    case 'counter':
      return [{ name: 'objref', type: counterType, object: statement.counter }]
    case 'notrack':
      return [{ name: 'notrack' }]
    case 'set address':
      return writeAddress(family, statement.of, statement.ip)
  }
}

function translate(family: Family, portMin: number) {
  return { name: 'nat', type: 1, family: hooksFamily[family], addressMin: first, portMin } as const
}

const ctNew = 8
const ctTranslated = 0x20

function hasBits(loading: Expression, bits: number, isNot: boolean): readonly Expression[] {
  return [loading, mask(bits), compare(isNot ? 'neq' : 'eq', word(bits))]
}

function writeMark(of: Marked, bit: number, on: boolean): readonly Expression[] {
  const key = of === 'meta' ? metaKeys.mark : ctKeys.mark
  const others = word((~bit & 0xffff_ffff) >>> 0)
  return [
    loadMark(of),
    { name: 'bitwise', sreg: first, dreg: first, length: 4, mask: others, xor: word(on ? bit : 0) },
    { name: of, key, sreg: first },
  ]
}

function compareFlags(flags: number, value: number): readonly Expression[] {
  const [mask, xor] = [Uint8Array.of(flags), Uint8Array.of(0)]
  return [
    { name: 'payload', base: payloadBases.transport, offset: tcpFlags.offset, length: 1, dreg: first },
    { name: 'bitwise', sreg: first, dreg: first, length: 1, mask, xor },
    compare('eq', Uint8Array.of(value)),
  ]
}

/** Compares as many bytes as the prefix has. */
function compareAddress(family: Family, of: 'saddr' | 'daddr', range: string, isNot: boolean): readonly Expression[] {
  const [ip, prefix] = range.split('/') as [string, string?]
  const length = prefix === undefined ? addressOffsets[family].length : Number(prefix) / 8
  return [
    { name: 'payload', base: payloadBases.network, offset: addressOffsets[family][of], length, dreg: first },
    compare(isNot ? 'neq' : 'eq', ipBytes(ip).subarray(0, length)),
  ]
}

/** Writes an address, and corrects the checksums of the IPv4 header, and of TCP and UDP, which cover the addresses. */
function writeAddress(family: Family, of: 'saddr' | 'daddr', ip: string): readonly Expression[] {
  const { [of]: offset, length } = addressOffsets[family]
  const header = family === 'ip' ? { checksumType: 1, checksumOffset: 10 } : { checksumType: 0, checksumOffset: 0 }
  return [
    { name: 'immediate', dreg: first, data: ipBytes(ip) },
    { name: 'payload', base: payloadBases.network, offset, length, sreg: first, ...header, checksumFlags: 1 },
  ]
}

const nameLength = 16

function compareInterface(of: 'iifname' | 'oifname', name: string, isNot: boolean): readonly Expression[] {
  const data = name.endsWith('*') ? Buffer.from(name.slice(0, -1)) : padded(name, nameLength)
  return [load('meta', metaKeys[of]), compare(isNot ? 'neq' : 'eq', data)]
}
