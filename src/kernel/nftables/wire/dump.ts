/** Dumps what the kernel has of a table, object by object; a dump begins anew where something is changed meanwhile. */

import { NetlinkError } from '../../netlink/answer.ts'
import { type Message, readAttributes, required } from '../../netlink/reader.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import type { SetTypes } from '../elements/values.ts'
import type { FoundHook, Table } from '../operations.ts'
import { counterType, type Expression, hooksFamily } from '../rules/expression.ts'
import { ElementReader, type FoundElements } from './elements.ts'
import { readExpressions } from './expression.ts'
import {
  chainAttributes,
  familyHeader,
  hookAttributes,
  hookNumbers,
  listAttributes,
  type MessageName,
  messageType,
  objectAttributes,
  ruleAttributes,
  tableAttributes,
} from './messages.ts'
import { setAttributes, setFlags, verdictType } from './sets.ts'
import { typesOfNumber } from './types.ts'

export interface FoundChain {
  readonly name: string
  /** `type filter hook input priority 0; policy drop;` of a base chain. */
  readonly hook: FoundHook | undefined
}

export interface FoundRule {
  readonly table: string
  readonly chain: string
  readonly expressions: readonly Expression[]
}

export interface FoundSet {
  readonly name: string
  /** Undefined where keys or values are of types that we do not know. */
  readonly types: SetTypes | undefined
  /** A part of a rule. */
  readonly isInline: boolean
  /** Its elements come and go by themselves: filled by packets, or timed. */
  readonly isDynamic: boolean
  /** How long an element lives, in seconds. */
  readonly timeoutSeconds: number | undefined
}

const headerLength = 4

function request(name: MessageName, family: number, write: (writer: MessageWriter) => void = () => {}) {
  return {
    type: messageType(name),
    body: (writer: MessageWriter) => {
      writer.raw(familyHeader(family))
      write(writer)
    },
  }
}

function attributesOf(message: Message) {
  return readAttributes(message.body, headerLength)
}

export function tableExists(socket: NetlinkSocket, table: Table): boolean {
  return exists(() =>
    socket.request(
      request('getTable', hooksFamily[table.family], writer => void writer.text(tableAttributes.name, table.name)),
      () => undefined,
    ),
  )
}

export function chainExists(socket: NetlinkSocket, table: Table, chain: string): boolean {
  const asked = request('getChain', hooksFamily[table.family], writer => {
    writer.text(chainAttributes.table, table.name)
    writer.text(chainAttributes.name, chain)
  })
  return exists(() => socket.request(asked, () => undefined))
}

function exists(ask: () => unknown): boolean {
  try {
    ask()
    return true
  } catch (error) {
    if (isAbsent(error)) return false
    throw error
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === 'ENOENT'
}

/** NFPROTO_…: the families of tables, by nft's words. */
export const tableFamilies = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const

/** All tables of one family. */
export interface Ruleset {
  readonly family: number
  readonly tables: readonly string[]
  readonly chains: readonly (FoundChain & { readonly table: string })[]
  readonly rules: readonly FoundRule[]
}

/** @param needsRules whether one of these chains is there; else rules are left out, which may be many */
export async function dumpRuleset(
  socket: NetlinkSocket,
  family: number,
  needsRules: (chain: FoundChain & { readonly table: string }) => boolean = () => true,
): Promise<Ruleset> {
  const tables = await dumpTables(socket, family)
  const chains = await dumpAllChains(socket, family)
  return { family, tables, chains, rules: chains.some(needsRules) ? await dumpRules(socket, family) : [] }
}

/** Dumps the names of all tables of a family. */
function dumpTables(socket: NetlinkSocket, family: number): Promise<readonly string[]> {
  return socket.dump(request('getTable', family), message => attributesOf(message).text(tableAttributes.name))
}

export async function dumpChains(socket: NetlinkSocket, table: Table): Promise<readonly FoundChain[]> {
  const found = await dumpAllChains(socket, hooksFamily[table.family])
  return found.filter(chain => chain.table === table.name)
}

function dumpAllChains(socket: NetlinkSocket, family: number) {
  return socket.dump(request('getChain', family), message => {
    const attributes = attributesOf(message)
    const name = required(attributes.text(chainAttributes.name), 'the name of a chain')
    return { table: attributes.text(chainAttributes.table) ?? '', name, hook: hookOf(attributes) }
  })
}

const hookNames = new Map(Object.entries(hookNumbers).map(([name, number]) => [number, name]))

function hookOf(attributes: ReturnType<typeof readAttributes>): FoundHook | undefined {
  const hook = attributes.nested(chainAttributes.hook)
  const number = hook?.be32(hookAttributes.number)
  if (hook === undefined || number === undefined) return undefined
  return {
    type: attributes.text(chainAttributes.type) ?? '',
    hook: hookNames.get(number) ?? String(number),
    priority: (hook.be32(hookAttributes.priority) ?? 0) | 0,
    policy: attributes.be32(chainAttributes.policy) === 0 ? 'drop' : 'accept',
  }
}

/** Dumps the rules of one table, or of all of a family. */
export function dumpRules(socket: NetlinkSocket, family: number, table?: string): Promise<readonly FoundRule[]> {
  const asked = request('getRule', family, writer => {
    if (table !== undefined) writer.text(ruleAttributes.table, table)
  })
  return socket.dump(asked, message => {
    const attributes = attributesOf(message)
    return {
      table: attributes.text(ruleAttributes.table) ?? '',
      chain: attributes.text(ruleAttributes.chain) ?? '',
      expressions: readExpressions(attributes.list(ruleAttributes.expressions)),
    }
  })
}

/** Dumps how many packets each counter of a table has counted. */
export async function dumpCounters(socket: NetlinkSocket, table: Table): Promise<ReadonlyMap<string, number>> {
  const asked = request('getObject', hooksFamily[table.family], writer => {
    writer.text(objectAttributes.table, table.name)
    writer.be32(objectAttributes.type, counterType)
  })
  const found = await socket.dump(asked, message => {
    const attributes = attributesOf(message)
    const packets = attributes.nested(objectAttributes.data)?.be64(objectAttributes.packets)
    return [attributes.text(objectAttributes.name) ?? '', Number(packets ?? 0n)] as const
  })
  return new Map(found)
}

export function dumpSets(socket: NetlinkSocket, table: Table): Promise<readonly FoundSet[]> {
  const asked = request(
    'getSet',
    hooksFamily[table.family],
    writer => void writer.text(setAttributes.table, table.name),
  )
  return socket.dump(asked, message => foundSet(attributesOf(message)))
}

function foundSet(attributes: ReturnType<typeof readAttributes>): FoundSet {
  const flags = attributes.be32(setAttributes.flags) ?? 0
  const key = typesOfNumber(attributes.be32(setAttributes.keyType) ?? 0)
  const dataNumber = attributes.be32(setAttributes.dataType)
  const data = dataNumber === verdictType.number ? 'verdict' : typesOfNumber(dataNumber ?? 0)
  const isKnown = key !== undefined && key.length > 0 && data !== undefined
  const timeout = attributes.be64(setAttributes.timeout)
  return {
    name: required(attributes.text(setAttributes.name), 'the name of a set'),
    types: isKnown ? { key, data, isInterval: (flags & setFlags.interval) !== 0 } : undefined,
    isInline: (flags & setFlags.anonymous) !== 0,
    isDynamic: (flags & (setFlags.dynamic | setFlags.timeout)) !== 0,
    timeoutSeconds: timeout === undefined ? undefined : Number(timeout / 1000n),
  }
}

/** Dumps the elements of a set; undefined where there is no such set. */
export async function dumpElements(
  socket: NetlinkSocket,
  table: Table,
  set: string,
  types: Pick<SetTypes, 'data' | 'isInterval'>,
): Promise<FoundElements | undefined> {
  const lists = await dumpElementLists(socket, table, set)
  if (lists === undefined) return undefined
  const reader = new ElementReader(types)
  for (const list of lists) reader.read(list)
  return reader.end()
}

/** Dumps what ElementReader reads: a whole set as bytes, before anything is made of it. */
export async function dumpElementLists(
  socket: NetlinkSocket,
  table: Table,
  set: string,
): Promise<readonly Buffer[] | undefined> {
  let lists: Buffer[] = []
  const asked = request('getElements', hooksFamily[table.family], writer => {
    lists = []
    writer.text(listAttributes.table, table.name)
    writer.text(listAttributes.set, set)
  })
  try {
    await socket.dump(asked, message => {
      const list = attributesOf(message).get(listAttributes.elements)
      if (list !== undefined) lists.push(Buffer.from(list))
    })
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
  return lists
}
