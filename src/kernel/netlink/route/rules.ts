/** Routing rules: which table decides about a packet (ip-rule(8), include/uapi/linux/fib_rules.h). */

import type { IpFamily } from '../../../net/address.ts'
import { flags, NetlinkError } from '../answer.ts'
import { MalformedMessage, type Message, readAttributes } from '../reader.ts'
import type { NetlinkSocket, Request } from '../socket.ts'
import type { MessageWriter } from '../writer.ts'
import { familyNumbers, familyOfNumber } from './family.ts'

export interface MarkMatch {
  readonly value: number
  readonly mask: number
}

/** The parts by which Lightpath finds a rule of its own, or adds one, as protocol `kernel`. */
export interface RuleKey {
  readonly family: IpFamily
  readonly priority: number
  readonly table: number
  readonly mark: MarkMatch
}

export interface Rule {
  readonly family: IpFamily
  readonly priority: number
  /** 0 where it leads to none. */
  readonly table: number
  readonly mark: MarkMatch | undefined
  /** The interface that packets come in by. */
  readonly incoming: string | undefined
  /** Ranges of addresses, such as `10.0.1.7/32`; undefined for all. */
  readonly source: string | undefined
  readonly destination: string | undefined
  /** Its priority, its other conditions, and where it leads, in words. */
  readonly rest: string
  /** Its only condition is a mark. */
  readonly isByMarkAlone: boolean
  /** As `ip rule` prints it, without what is rare (users, ports, tunnels). */
  readonly text: string
}

const types = { new: 32, delete: 33, get: 34 } as const
const protocolKernel = 2
/** The attributes of any rule that matches a mark and leads to a table; all others are further conditions. */
const usual: ReadonlySet<number> = new Set([6, 10, 13, 14, 15, 16, 18, 19, 21])
const headerLength = 12
const toTable = 1
const inverted = 2
const attributes = {
  destination: 1,
  source: 2,
  incoming: 3,
  priority: 6,
  mark: 10,
  table: 15,
  mask: 16,
  outgoing: 17,
  protocol: 21,
} as const

/**
 * Lists the rules in their order of evaluation, by a socket of protocol `route`, as all here. Throws as
 * `NetlinkSocket.dumpNow`.
 */
export function listRules(socket: NetlinkSocket, family: IpFamily): readonly Rule[] {
  return socket.dumpNow({ type: types.get, body: writer => writer.raw(header(family, 0)) }, readRule)
}

/** Adds the rule. Throws NetlinkError EEXIST where the very same is there. */
export function addRule(socket: NetlinkSocket, rule: RuleKey): void {
  const { body } = change(types.new, rule)
  socket.request({
    type: types.new,
    flags: flags.create | flags.exclusive,
    body: writer => {
      body(writer)
      writer.u8(attributes.protocol, protocolKernel)
    },
  })
}

/** Deletes the rule. False where there is none. */
export function deleteRule(socket: NetlinkSocket, rule: RuleKey): boolean {
  try {
    socket.request(change(types.delete, rule))
    return true
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false
    throw error
  }
}

function change(type: number, { family, priority, table, mark }: RuleKey): Request {
  return {
    type,
    body: (writer: MessageWriter) =>
      writer
        .raw(header(family, toTable))
        .u32(attributes.priority, priority)
        .u32(attributes.mark, mark.value)
        .u32(attributes.mask, mark.mask)
        .u32(attributes.table, table),
  }
}

/** `struct fib_rule_hdr`. */
function header(family: IpFamily, action: number): Uint8Array {
  return Uint8Array.of(familyNumbers[family], 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0)
}

/** Reads a rule; undefined for another family's. Throws MalformedMessage. */
export function readRule({ body }: Pick<Message, 'body'>): Rule | undefined {
  if (body.length < headerLength) throw new MalformedMessage('a rule is cut')
  const family = familyOfNumber(body[0])
  if (family === undefined) return undefined
  const read = readAttributes(body, headerLength)
  const value = read.u32(attributes.mark)
  const mask = read.u32(attributes.mask)
  const table = read.u32(attributes.table) ?? body[4]!
  const priority = read.u32(attributes.priority) ?? 0
  const mark = value === undefined && mask === undefined ? undefined : { value: value ?? 0, mask: mask ?? 0xffff_ffff }
  const isInverted = (body.readUInt32LE(8) & inverted) !== 0
  const isByMarkAlone =
    mark !== undefined && !isInverted && body[7] === toTable && [...read.keys()].every(type => usual.has(type))
  const incoming = read.text(attributes.incoming)
  const outgoing = read.text(attributes.outgoing)
  const source = rangeOf(read.address(attributes.source), body[2]!)
  const destination = rangeOf(read.address(attributes.destination), body[1]!)
  const not = isInverted ? ['not'] : []
  const marked = mark ? [`fwmark ${hex(mark.value)}${mark.mask === 0xffff_ffff ? '' : `/${hex(mark.mask)}`}`] : []
  const comesIn = incoming === undefined ? [] : [`iif ${incoming}`]
  const leaves = outgoing === undefined ? [] : [`oif ${outgoing}`]
  const leads = body[7] === toTable ? `lookup ${tableText(table)}` : actionText(body[7]!)
  const from = `from ${withoutHostLength(source) ?? 'all'}`
  const to = destination === undefined ? [] : [`to ${withoutHostLength(destination)}`]
  return {
    family,
    priority,
    table,
    mark,
    source,
    destination,
    incoming,
    isByMarkAlone,
    rest: [`${priority}:`, ...not, ...marked, ...leaves, leads].join(' '),
    text: `${priority}:\t${[...not, from, ...to, ...marked, ...comesIn, ...leaves, leads].join(' ')}`,
  }
}

function rangeOf(address: string | undefined, length: number): string | undefined {
  return address && `${address}/${length}`
}

/** Prints a host as `ip` does. */
function withoutHostLength(range: string | undefined): string | undefined {
  return range?.replace(range.includes(':') ? /\/128$/ : /\/32$/, '')
}

function hex(number: number): string {
  return `0x${number.toString(16)}`
}

const tableNames: Readonly<Record<number, string>> = { 253: 'default', 254: 'main', 255: 'local' }

/** Names a table as `ip` does; a number is its own name. */
function tableText(table: number): string {
  return tableNames[table] ?? String(table)
}

const actions: Readonly<Record<number, string>> = {
  2: 'goto',
  3: 'nop',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
}

function actionText(action: number): string {
  return actions[action] ?? `action ${action}`
}
