/** The nf_tables of this node, or of another network namespace, by netlink. */

import { beginWork, isTurnOver, nextTurn } from '../../worker/turns.ts'
import type { Family } from '../family.ts'
import { NetlinkSocket } from '../netlink/socket.ts'
import type { Bytes } from './bytes.ts'
import type { InlineSet } from './clauses/clause.ts'
import { readRule } from './clauses/read.ts'
import { type ElementName, elementName, setCode } from './elements/elements.ts'
import { inlineSet } from './elements/inlineset.ts'
import { parseObjectName } from './elements/ownobjects.ts'
import { typesOf } from './elements/values.ts'
import { commandErrorOf, TransactionRefused } from './errors.ts'
import type { Operation, Table } from './operations.ts'
import { hooksFamily } from './rules/expression.ts'
import { ownChainValue } from './rules/ownchain.ts'
import { tableOf } from './rules/ruleset.ts'
import { fixedSet } from './sets.ts'
import { applyBatch } from './wire/batch.ts'
import {
  chainExists,
  dumpChains,
  dumpCounters,
  dumpElementLists,
  dumpElements,
  dumpRules,
  dumpRuleset,
  dumpSets,
  type FoundChain,
  type FoundSet,
  type Ruleset,
  tableExists,
} from './wire/dump.ts'
import { ElementReader } from './wire/elements.ts'
import { BatchRefused } from './wire/sent.ts'

/** Beyond all process ids, by which sockets are named that have no number of their own. */
const firstWriterPort = 0x4c50_0000

/**
 * The port of the one socket that writes the tables of these families: a second writer in the network namespace gets
 * none.
 */
export function writerPort(families: readonly Family[]): number {
  return families.reduce((port, family) => port + hooksFamily[family], firstWriterPort)
}

/** Receives our tables as the kernel has them, in the terms of elements/elements.ts. */
export interface TableReader {
  /**
   * Called for chains but those of single Service ports, which are elements. `rules` counts the hook of a base chain,
   * too.
   */
  chain(family: Family, name: string, rules: number): void
  /** Called for elements of sets that are ours alone: the overlay's switch is the administrator's. */
  element(name: ElementName, value: Bytes): void
}

/** The interface of nf_tables that KernelTables uses. Rejections are CommandErrors. */
export interface NftClient {
  /**
   * Applies all of it or nothing, and returns how many bytes that took. Rejects with a TransactionRefused for what the
   * kernel refuses.
   */
  apply(operations: readonly Operation[]): Promise<number>
  /** The names of our table's chains, none where there is no table. */
  chains(family: Family): Promise<readonly string[]>
  hasChain(family: Family, chain: string): Promise<boolean>
  /** The names of our table's sets and maps, none where there is no table. */
  sets(family: Family): Promise<readonly string[]>
  /** Reads our table with all its elements. False where it does not exist. */
  read(family: Family, reader: TableReader): Promise<boolean>
  /** The keys of one of our sets; undefined where it does not exist. */
  keys(family: Family, set: string): Promise<readonly Bytes[] | undefined>
  /** In how many milliseconds each element of one of our sets times out; undefined where the set does not exist. */
  remaining(family: Family, set: string): Promise<ReadonlyMap<Bytes, number> | undefined>
  close(): void
}

/** Bytes of a transaction that the kernel takes at once. */
const sendBuffer = 32 * 1024 * 1024

export class Nftables implements NftClient {
  readonly #netns: string | undefined
  readonly #port: number | undefined
  #socket: NetlinkSocket | undefined
  /** The current use of the socket: one at a time. */
  #running: Promise<unknown> = Promise.resolve()

  /**
   *
   * @param netns such as `/var/run/netns/node1`; undefined: this process's own
   * @param port of its socket, which does not open while another has it
   */
  constructor(netns?: string, port?: number) {
    this.#netns = netns
    this.#port = port
  }

  async apply(operations: readonly Operation[]): Promise<number> {
    beginWork()
    const bytes = await this.use(socket => applyBatch(socket, operations))
    // A single one waits for nothing.
    if (isTurnOver()) await nextTurn()
    return bytes
  }

  async chains(family: Family): Promise<readonly string[]> {
    const chains = await this.use(socket => dumpChains(socket, tableOf(family)))
    return chains.map(({ name }) => name)
  }

  hasChain(family: Family, chain: string): Promise<boolean> {
    return this.use(socket => chainExists(socket, tableOf(family), chain))
  }

  async sets(family: Family): Promise<readonly string[]> {
    const table = tableOf(family)
    const sets = (await this.exists(table)) ? await this.use(socket => dumpSets(socket, table)) : []
    return sets.map(({ name }) => name)
  }

  /** Has the kernel check the operations, and apply none. Rejects as `apply`. */
  async check(operations: readonly Operation[]): Promise<void> {
    await this.use(socket => applyBatch(socket, operations, { isCheck: true }))
  }

  exists(table: Table): Promise<boolean> {
    return this.use(socket => tableExists(socket, table))
  }

  /** Returns whether there was one. */
  async deleteTable(table: Table): Promise<boolean> {
    if (!(await this.exists(table))) return false
    await this.apply([{ do: 'delete table', table }])
    return true
  }

  /** Reads all tables of a family, such as NFPROTO_INET. */
  ruleset(family: number, needsRules?: (chain: FoundChain & { readonly table: string }) => boolean): Promise<Ruleset> {
    return this.use(socket => dumpRuleset(socket, family, needsRules))
  }

  /** Reads how many packets each counter of the table has counted. */
  counters(table: Table): Promise<ReadonlyMap<string, number>> {
    return this.use(socket => dumpCounters(socket, table))
  }

  async read(family: Family, reader: TableReader): Promise<boolean> {
    const table = tableOf(family)
    if (!(await this.exists(table))) return false
    const sets = await this.use(socket => dumpSets(socket, table))
    const inline = await this.#inlineMaps(table, sets)
    const chains = await this.use(socket => dumpChains(socket, table))
    const rules = Map.groupBy(
      await this.use(socket => dumpRules(socket, hooksFamily[family], table.name)),
      rule => rule.chain,
    )
    for (const { name, hook } of chains) {
      const found = rules.get(name) ?? []
      const own = parseObjectName(family, name)
      if (own) {
        const clauses = found.map(({ expressions }) => readRule(family, expressions, name => inline.get(name)))
        reader.element(elementName(family, own.set, own.key), ownChainValue(family, own, clauses))
      } else reader.chain(family, name, found.length + (hook === undefined ? 0 : 1))
    }
    for (const { name, types, isInline, isDynamic } of sets) {
      const own = parseObjectName(family, name)
      if (own) reader.element(elementName(family, own.set, own.key), '')
      const prefix = own ? elementName(family, 'source-ranges', own.key) : setCode(family, name)
      if (isInline || isDynamic || types === undefined || prefix === undefined) continue
      const lists = await this.use(socket => dumpElementLists(socket, table, name))
      const elements = new ElementReader(types)
      for (const list of lists ?? []) {
        if (isTurnOver()) await nextTurn()
        elements.read(list)
        for (const [key, value] of elements.take()) reader.element(prefix + key, value)
      }
      for (const [key, value] of elements.end().elements) reader.element(prefix + key, value)
    }
    return true
  }

  async keys(family: Family, name: string): Promise<readonly Bytes[] | undefined> {
    return (await this.#elements(family, name))?.elements.map(([key]) => key)
  }

  async remaining(family: Family, name: string): Promise<ReadonlyMap<Bytes, number> | undefined> {
    return (await this.#elements(family, name))?.remaining
  }

  #elements(family: Family, name: string) {
    const types = { ...typesOf(family, fixedSet(name)), data: undefined }
    return this.use(socket => dumpElements(socket, tableOf(family), name, types))
  }

  /** Whether a change of which the kernel notified us was ours. */
  isOwn(port: number): boolean {
    return port === this.#socket?.port
  }

  /** Closes the socket. No request may follow. */
  close(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  /** Does one thing with the socket after the other. */
  async use<T>(work: (socket: NetlinkSocket) => T | Promise<T>): Promise<T> {
    const before = this.#running
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#running = promise
    await before
    try {
      return await work(this.#open())
    } catch (error) {
      throw this.#failure(error)
    } finally {
      resolve()
    }
  }

  async #inlineMaps(table: Table, sets: readonly FoundSet[]): Promise<ReadonlyMap<string, InlineSet>> {
    const maps = new Map<string, InlineSet>()
    for (const { name, types, isInline } of sets) {
      if (!isInline || types === undefined) continue
      const found = await this.use(socket => dumpElements(socket, table, name, types))
      if (found) maps.set(name, inlineSet(types, found))
    }
    return maps
  }

  #open(): NetlinkSocket {
    if (this.#socket) return this.#socket
    const socket = new NetlinkSocket('netfilter', { netns: this.#netns, port: this.#port })
    socket.setBuffer('sendForce', sendBuffer)
    this.#socket = socket
    return socket
  }

  /**
   * Translates the error. After anything but a refusal the next use begins with a new socket: answers may still come on
   * this one.
   */
  #failure(error: unknown): unknown {
    if (error instanceof BatchRefused && error.code !== 'EPERM') return new TransactionRefused(error)
    this.close()
    return commandErrorOf(error)
  }
}

/** Runs the work, a few requests, with a client that is closed afterwards. */
export async function withNftables<T>(netns: string | undefined, work: (nft: Nftables) => Promise<T>): Promise<T> {
  const nft = new Nftables(netns)
  try {
    return await work(nft)
  } finally {
    nft.close()
  }
}
