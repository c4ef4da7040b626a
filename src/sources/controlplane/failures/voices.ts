/**
 * Tells control planes what this node sees of endpoints: the replica by which it reads facts, whose exclusions it takes,
 * and some others, so that each judges by all nodes and not by those alone that it serves. All of them may ask. A replica
 * that others find on a dead node serves this one no longer: it would not say so itself.
 */

import type { Exclusion } from '../../../exclusions/exclusion.ts'
import type { Sight } from '../../../facts/failures.ts'
import type { SourceListener } from '../../source.ts'
import type { Replica } from '../replicas/addresses.ts'
import type { FactsStream, StreamListener } from '../stream.ts'
import { FailureExchange } from './exchange.ts'

export interface VoicesOptions {
  readonly nodeName: string
  readonly listener: Pick<SourceListener, 'exclusions' | 'asked'>
  /** Rejects where it cannot. */
  readonly find: () => Promise<readonly Replica[]>
  readonly open: (replica: Replica, listener: StreamListener) => Promise<FactsStream>
  /** How often other replicas are looked for, and up to twice that. */
  readonly everyMs: number
}

/** A stream that reads no facts, for the sake of the exchange beside it. */
interface Other {
  readonly exchange: FailureExchange
  stream: FactsStream | undefined
}

/** As many as a failure domain has, or one fewer. */
const mostOthers = 3

export class Voices {
  readonly #options: VoicesOptions
  readonly #main: FailureExchange
  readonly #others = new Map<string, Other>()
  /** By address of the replica. */
  readonly #asked = new Map<string, readonly string[]>()
  /** Names of nodes that others than the replica that serves have excluded, by address of the replica. */
  readonly #deadNodes = new Map<string, readonly string[]>()
  #current: { readonly replica: Replica; readonly stream: FactsStream } | undefined
  #sights: readonly Sight[] = []
  #looking: NodeJS.Timeout | undefined
  #hasStopped = false

  constructor(options: VoicesOptions) {
    const { nodeName, listener } = options
    this.#options = options
    this.#main = new FailureExchange(nodeName, {
      exclusions: all => listener.exclusions?.(all),
      asked: endpoints => this.#ask('', endpoints),
    })
  }

  /** Facts come from this replica now. */
  begin(replica: Replica, stream: FactsStream): void {
    const { address } = replica
    this.#current = { replica, stream }
    // A control plane hears one stream of a node, the later one. The other ends once that has begun, so that the node
    // never falls silent there.
    this.#others.get(address)?.exchange.stop()
    this.#main.begin(() => stream.openExchange())
    this.#deadNodes.delete(address)
    clearTimeout(this.#looking)
    this.#lookSoon()
  }

  /** Replicas on nodes that are excluded come last. */
  livingFirst(replicas: readonly Replica[]): readonly Replica[] {
    return [...new Set([...replicas.filter(replica => !this.#isOnDeadNode(replica)), ...replicas])]
  }

  report(sights: readonly Sight[]): void {
    this.#sights = sights
    this.#main.report(sights)
    for (const { exchange } of this.#others.values()) exchange.report(sights)
  }

  stop(): void {
    this.#hasStopped = true
    clearTimeout(this.#looking)
    this.#main.stop()
    for (const address of [...this.#others.keys()]) this.#end(address)
  }

  #lookSoon(): void {
    const { everyMs } = this.#options
    const look = async () => {
      await this.#look()
      if (!this.#hasStopped) this.#looking = setTimeout(look, everyMs * (1 + Math.random()))
    }
    this.#looking = setTimeout(look, everyMs * Math.random() * 0.1)
  }

  async #look(): Promise<void> {
    const found = await this.#options.find().catch(() => undefined)
    if (!found || this.#hasStopped) return
    const wanted = found.filter(({ address }) => address !== this.#current?.replica.address)
    const kept = wanted.filter(({ address }) => this.#others.has(address))
    const chosen = [...new Set([...kept, ...wanted])].slice(0, mostOthers)
    const addresses = new Set(chosen.map(({ address }) => address))
    for (const address of [...this.#others.keys()]) if (!addresses.has(address)) this.#end(address)
    await Promise.all(chosen.map(replica => this.#join(replica).catch(() => this.#end(replica.address))))
  }

  async #join(replica: Replica): Promise<void> {
    const { address } = replica
    if (this.#others.has(address)) return
    const { nodeName, open } = this.#options
    const exchange = new FailureExchange(nodeName, {
      asked: endpoints => this.#ask(address, endpoints),
      exclusions: all => this.#hear(address, all),
    })
    const other: Other = { exchange, stream: undefined }
    this.#others.set(address, other)
    exchange.report(this.#sights)
    const isWanted = () => this.#others.get(address) === other
    const stream = await open(replica, {
      accepted: () => {
        if (address !== this.#current?.replica.address) exchange.begin(() => other.stream?.openExchange())
      },
      told: () => undefined,
      fresh: () => undefined,
      ended: () => {
        if (isWanted()) this.#end(address)
      },
    })
    if (isWanted()) other.stream = stream
    else stream.close('it serves facts, or is gone')
  }

  #end(address: string): void {
    const other = this.#others.get(address)
    if (!other) return
    this.#others.delete(address)
    other.exchange.stop()
    other.stream?.close('the node speaks elsewhere')
    this.#ask(address, [])
    this.#deadNodes.delete(address)
  }

  /** One that is found later, although its node is excluded already, can be reached. */
  #hear(from: string, exclusions: readonly Exclusion[]): void {
    const isCurrentDead = () => this.#current !== undefined && this.#isOnDeadNode(this.#current.replica)
    const wasDead = isCurrentDead()
    const nodes = exclusions.filter(({ of }) => of === 'node').map(({ name }) => name)
    this.#deadNodes.set(from, nodes)
    if (isCurrentDead() && !wasDead) this.#current?.stream.close('its node is excluded, say other replicas')
  }

  /** What is on the node itself can be reached, whatever others say. */
  #isOnDeadNode({ node }: Replica): boolean {
    if (node === undefined || node === this.#options.nodeName) return false
    return [...this.#deadNodes.values()].some(nodes => nodes.includes(node))
  }

  #ask(from: string, endpoints: readonly string[]): void {
    this.#asked.set(from, endpoints)
    if (endpoints.length === 0) this.#asked.delete(from)
    this.#options.listener.asked?.([...new Set([...this.#asked.values()].flat())])
  }
}
