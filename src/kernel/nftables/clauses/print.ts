/** Rules as text for people, in nft's words. What is not known is printed as `[its name]`. */

import { anyAddress, type Family } from '../../family.ts'
import { keyValueText } from '../elements/values.ts'
import { type Expression, rejects } from '../rules/expression.ts'
import type { Clause, Clauses, Comparison, Destination, Key, MarkValue, NatOptions, Port, SetOfRule } from './clause.ts'
import { type Field, type FieldValue, flagNames, kindOf } from './fields.ts'
import { type InlineSets, readRule } from './read.ts'
import { durationText, protocolName, verdictText } from './words.ts'

export function printRule(family: Family, expressions: readonly Expression[], inline?: InlineSets): string {
  return printClauses(family, readRule(family, expressions, inline))
}

export function printClauses(family: Family, clauses: Clauses): string {
  return clauses.map(clause => clauseText(family, clause)).join(' ')
}

function clauseText(family: Family, clause: Clause): string {
  switch (clause.kind) {
    case 'compare':
      return comparisonText(family, clause)
    case 'lookup':
      return `${keyText(family, clause.key)} ${clause.isNot ? '!= ' : ''}${setText(clause.set)}`
    case 'verdict map':
      return `${keyText(family, clause.key)} vmap ${setText(clause.map)}`
    case 'verdict':
      return verdictText(clause.verdict)
    case 'set mark':
      return `${clause.of} mark set ${markText(family, clause.to)}`
    case 'set field':
      return `${fieldText(family, clause.field)} set ${valueText(clause.field, clause.value)}`
    case 'nat':
      return `${clause.verb} ${destinationText(family, clause.to)}${optionsText(clause.options)}`
    case 'redirect':
      return clause.port === undefined ? 'redirect' : `redirect to :${portText(clause.port)}`
    case 'tproxy':
      return `tproxy to :${portText(clause.port)}`
    case 'masquerade':
      return `masquerade${optionsText(clause.options)}`
    case 'reject':
      return rejectText(family, clause.type, clause.code)
    case 'update': {
      const timeout = clause.timeoutMs === undefined ? '' : ` timeout ${durationText(clause.timeoutMs)}`
      return `${clause.do} @${clause.set} { ${keyText(family, clause.key)}${timeout} }`
    }
    case 'counter':
      return `counter packets ${clause.packets} bytes ${clause.bytes}`
    case 'named counter':
      return `counter name ${clause.name}`
    case 'notrack':
      return 'notrack'
    case 'other':
      return `[${clause.name}]`
  }
}

function keyText(family: Family, key: Key): string {
  return key.map(field => fieldText(family, field)).join(' . ')
}

function fieldText(family: Family, field: Field): string {
  switch (field.name) {
    case 'saddr':
    case 'daddr':
      return `${family} ${field.name}${field.isMasked ? ` & ${anyAddress[family]}` : ''}`
    case 'sport':
    case 'dport':
      return `${field.transport} ${field.name}`
    case 'address type':
      return `fib ${field.of} type`
    case 'random':
      return `numgen random mod ${field.mod}${field.offset === 0 ? '' : ` offset ${field.offset}`}`
    case 'other':
      return field.text
    default:
      return field.name
  }
}

/** `{ 0 : goto a, 1 : goto b }` of a set that is a part of the rule. */
function setText(set: SetOfRule): string {
  if (typeof set === 'string') return `@${set}`
  return `{ ${set.elements.map(([key, value]) => keyValueText(set.types, key, value)).join(', ')} }`
}

const operators = { eq: '', neq: '!= ', lt: '< ', lte: '<= ', gt: '> ', gte: '>= ' } satisfies Record<
  Comparison,
  string
>

function comparisonText(family: Family, { field, op, mask, value }: Extract<Clause, { kind: 'compare' }>): string {
  const [left, right] = [fieldText(family, field), valueText(field, value)]
  if (mask === undefined) return `${left} ${operators[op]}${right}`
  const flags = flagsOf(field)
  // Any of these flags.
  if (flags && op === 'neq' && value === 0) return `${left} ${flagsText(flags, mask, ',')}`
  const maskText = flags ? flagsText(flags, mask, ' | ') : hex(mask)
  const maskedValue = flags ? flagsText(flags, Number(value), ' | ') : hex(Number(value))
  const masked = `${left} & ${maskText.includes('|') ? `(${maskText})` : maskText}`
  return `${masked} ${op === 'eq' ? '== ' : operators[op]}${maskedValue}`
}

const addressTypes: Readonly<Record<number, string>> = { 1: 'unicast', 2: 'local', 3: 'broadcast', 5: 'multicast' }

function valueText(field: Field, value: FieldValue): string {
  const kind = kindOf(field)
  if (kind === 'name') return `"${value}"`
  if (typeof value === 'string') return value
  switch (kind) {
    case 'l4proto':
      return protocolName(value)
    case 'mark':
      return hex(value)
    case 'direction':
      return value === 0 ? 'original' : 'reply'
    case 'address type':
      return addressTypes[value] ?? String(value)
    case 'state':
    case 'status':
    case 'tcp flags':
      return flagsText(flagNames[kind], value, ',')
    default:
      return String(value)
  }
}

type Flags = Readonly<Record<number, string>>

function flagsOf(field: Field): Flags | undefined {
  const kind = kindOf(field)
  return kind === 'state' || kind === 'status' || kind === 'tcp flags' ? flagNames[kind] : undefined
}

function flagsText(names: Flags, bits: number, separator: string): string {
  const found = Object.entries(names).filter(([bit]) => (bits & Number(bit)) !== 0)
  const known = found.reduce((sum, [bit]) => sum | Number(bit), 0)
  return known === bits && found.length > 0 ? found.map(([, name]) => name).join(separator) : hex(bits)
}

function markText(family: Family, to: MarkValue | undefined): string {
  if (to === undefined) return '[value]'
  const { from, mask, xor } = to
  if (from === undefined) return hex(xor)
  const field = fieldText(family, from)
  if (xor === 0) return `${field} & ${hex(mask)}`
  if (mask === 0xffff_ffff) return `${field} ^ ${hex(xor)}`
  if ((~mask & 0xffff_ffff) >>> 0 === xor) return `${field} | ${hex(xor)}`
  return `(${field} & ${hex(mask)}) ^ ${hex(xor)}`
}

function destinationText(family: Family, to: Destination): string {
  if (to === undefined) return 'to [value]'
  if ('map' in to) return `${to.family} to ${keyText(family, to.key)} map ${setText(to.map)}`
  const { ip, port } = to
  if (port === undefined) return `to ${ip}`
  return `to ${ip.includes(':') ? `[${ip}]` : ip}:${portText(port)}`
}

function portText(port: Port): string {
  return port === 'unknown' ? '[port]' : String(port ?? '')
}

function rejectText(family: Family, type: number, code: number | undefined): string {
  if (type === rejects.reset.type) return 'reject with tcp reset'
  if (type === rejects[family].type && code === rejects[family].code) return 'reject'
  return `reject with ${type === 2 ? 'icmpx' : 'icmp'} ${code}`
}

function optionsText(options: NatOptions): string {
  return options.length === 0 ? '' : ` ${options.join(',')}`
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`
}
