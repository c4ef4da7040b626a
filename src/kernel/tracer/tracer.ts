/** Traces one packet through the tables of the model (`model.ts`), and through the machine around them. */

import { contains } from '../../net/cidr.ts'
import { addressPortOf, type Bytes, verdictOf } from '../nftables/bytes.ts'
import type { Chain, Hook } from '../nftables/operations.ts'
import { type VerdictData, verdictCodes } from '../nftables/rules/expression.ts'
import type { Key, Rule, Statement } from '../nftables/rules/statement.ts'
import { type Outcome, type Packet, PacketState, type TracedNode } from './packet.ts'

export interface TracedTable {
  /** The elements by the name of their set or map. */
  readonly sets: Map<string, Map<Bytes, Bytes>>
  readonly chains: Map<string, Chain>
}

/** The result of a rule; `continue` where the next one follows. */
type Result = 'accept' | 'drop' | 'reject' | 'reset' | 'continue'

/** One packet on its way. */
export class Trace {
  readonly #packet: Packet
  readonly #node: TracedNode
  readonly #table: TracedTable | undefined
  readonly #state: PacketState

  constructor(packet: Packet, node: TracedNode, table: TracedTable | undefined) {
    this.#packet = packet
    this.#node = node
    this.#table = table
    this.#state = new PacketState(packet, node)
  }

  run(): Outcome {
    const entry = this.#hook(this.#packet.from === 'pod' ? 'prerouting' : 'output')
    if (entry !== 'accept') return this.#state.outcome(entry)
    this.#state.repeatTranslation()
    const isLocal = this.#state.toEnvoy !== undefined || this.#node.localAddresses.includes(this.#state.destination)
    if (!isLocal) {
      const forward = this.#packet.from === 'pod' ? this.#hook('forward') : 'accept'
      if (forward !== 'accept') return this.#state.outcome(forward)
      const exit = this.#hook('postrouting')
      return this.#state.outcome(exit === 'accept' ? 'forward' : exit)
    }
    const input = this.#hook('input')
    return this.#state.outcome(input === 'accept' ? (this.#state.toEnvoy ?? 'local') : input)
  }

  #hook(hook: Hook['hook']): Exclude<Result, 'continue'> {
    const chains = [...(this.#table?.chains.values() ?? [])].filter(chain => chain.hook?.hook === hook)
    for (const { name, hook } of chains.sort((a, b) => a.hook!.priority - b.hook!.priority)) {
      // The kernel runs chains of type nat for a connection's first packet, until one has translated it.
      const { isNew, repeats } = this.#packet
      const isDecided = !isNew || repeats || (hook!.hook !== 'postrouting' && this.#state.isTranslated)
      if (hook!.type === 'nat' && isDecided) continue
      const result = this.#chain(name)
      if (result !== 'accept' && result !== 'continue') return result
    }
    return 'accept'
  }

  #chain(name: string): Result {
    for (const rule of this.#table!.chains.get(name)!.rules) {
      const result = this.#rule(rule)
      if (result !== 'continue') return result
      if (this.#left) break
    }
    this.#left = false
    return 'continue'
  }

  /** After `goto` the rest of the chain is skipped. */
  #left = false

  #rule(rule: Rule): Result {
    for (const statement of rule) {
      const result = this.#statement(statement)
      if (result === false) break
      if (result !== true) return result
    }
    return 'continue'
  }

  /** Returns whether the statement matches, or its verdict. */
  #statement(statement: Statement): boolean | Result {
    const { protocol, isNew, source, from } = this.#packet
    switch (statement.kind) {
      case 'lookup':
        return this.#isIn(statement.set, statement.key) !== statement.isNot
      case 'verdict map':
        return this.#goBy(this.#verdictOf(statement.map, statement.key))
      case 'verdict':
        return this.#goBy(statement.verdict)
      case 'mark':
        return ((this.#state.markOf(statement.of) & statement.bit) === statement.bit) !== statement.isNot
      case 'set mark':
        return this.#state.setMark(statement.of, statement.bit, statement.on)
      case 'transport':
        return protocol === statement.transport
      case 'port':
        return protocol === statement.transport && this.#state.port === statement.port
      case 'first segment':
        return protocol === 'tcp' && isNew
      case 'not ending':
        return protocol === 'tcp'
      case 'address': {
        const address = statement.of === 'saddr' ? source : this.#state.destination
        return holds(statement.range, address) !== statement.isNot
      }
      case 'local address': {
        const address = statement.of === 'saddr' ? source : this.#state.destination
        const isLocal = this.#node.localAddresses.includes(address)
        return isLocal || (statement.of === 'saddr' && from === 'node')
      }
      case 'new connection':
        return isNew
      case 'direction':
        return statement.direction === 'original'
      case 'translated':
        return this.#state.isTranslated !== statement.isNot
      case 'from bridge':
        return this.#packet.isBridged === true
      case 'interface':
        return this.#state.isFrom(statement.name) !== statement.isNot
      case 'opaque socket':
        return this.#node.impostor === this.#state.port
      case 'random zero':
        return this.#node.random(statement.mod) === 0
      default:
        return this.#act(statement)
    }
  }

  #act(statement: Exclude<Statement, { kind: Matching }>): boolean | Result {
    switch (statement.kind) {
      case 'tproxy':
        return this.#node.listeners.includes(statement.port) && this.#state.send('tproxy', statement.port)
      case 'redirect':
        return this.#state.redirect(statement.port)
      case 'masquerade':
        this.#state.isMasqueraded = true
        return 'accept'
      case 'reject':
        return statement.with === 'tcp reset' ? 'reset' : 'reject'
      case 'dnat':
        return this.#state.translateTo(statement.to)
      case 'dnat by map':
        return this.#translateBy(statement.key, statement.map)
      case 'dnat to one of':
        return this.#state.translateTo(statement.endpoints[this.#node.random(statement.endpoints.length)]!)
      case 'remember':
        return this.#remember(statement.key, statement.set)
      case 'counter':
        return true
      case 'notrack':
      case 'original destination':
      case 'set address':
        throw new Error(`the tracer does not follow ${statement.kind}`)
    }
  }

  #remember(parts: Key, set: string): boolean {
    const key = this.#state.key(parts)
    if (key !== undefined) this.#table!.sets.get(set)!.set(key, '')
    return key !== undefined
  }

  #goBy(verdict: VerdictData | undefined): boolean | Result {
    if (verdict === undefined) return false
    const { code, chain } = verdict
    if (chain === undefined) return code === verdictCodes.accept ? 'accept' : 'drop'
    const result = this.#chain(chain)
    this.#left = code === verdictCodes.goto && result === 'continue'
    return result
  }

  #valueOf(map: string, parts: Key): Bytes | undefined {
    const key = this.#state.key(parts)
    return key === undefined ? undefined : this.#table!.sets.get(map)!.get(key)
  }

  #verdictOf(map: string, parts: Key): VerdictData | undefined {
    const value = this.#valueOf(map, parts)
    return value === undefined ? undefined : verdictOf(value)
  }

  /** Looks a key up; a set of addresses may hold ranges of them. */
  #isIn(set: string, parts: Key): boolean {
    const key = this.#state.key(parts)
    if (key === undefined) return false
    const elements = this.#table!.sets.get(set)!
    if (elements.has(key)) return true
    const isRange = (range: Bytes) => range.length === 2 * key.length
    const holds = (range: Bytes) => range.slice(0, key.length) <= key && key <= range.slice(key.length)
    return parts.length === 1 && [...elements.keys()].some(range => isRange(range) && holds(range))
  }

  #translateBy(key: Key, map: string): boolean | Result {
    const endpoint = this.#valueOf(map, key)
    return endpoint === undefined ? false : this.#state.translateTo(addressPortOf(endpoint))
  }
}

type Matching =
  | (
      | 'lookup'
      | 'verdict map'
      | 'verdict'
      | 'mark'
      | 'set mark'
      | 'transport'
      | 'port'
      | 'first segment'
      | 'not ending'
      | 'address'
      | 'local address'
    )
  | ('new connection' | 'direction' | 'translated' | 'from bridge' | 'interface' | 'opaque socket' | 'random zero')

/** @param range a CIDR, or one address */
function holds(range: string, ip: string): boolean {
  return range.includes('/') ? contains(range, ip) : range === ip
}
