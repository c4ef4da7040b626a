/** What becomes of one packet in the tables of the model (`model.ts`), and in the machine around them. */

import { contains } from '../../net/cidr.ts'
import { anyAddress, type Family } from '../family.ts'
import {
  addressBytes,
  addressPortOf,
  type Bytes,
  etherTypes,
  portPart,
  protocolPart,
  verdictOf,
  wordBytes,
} from '../nftables/bytes.ts'
import type { Chain, Hook } from '../nftables/operations.ts'
import { type VerdictData, verdictCodes } from '../nftables/rules/expression.ts'
import type { Endpoint, Key, KeyPart, Marked, Rule, Statement } from '../nftables/rules/statement.ts'

export interface TracedTable {
  /** By name of the set or map: its elements. */
  readonly sets: Map<string, Map<Bytes, Bytes>>
  readonly chains: Map<string, Chain>
}

export interface Packet {
  readonly family: Family
  /** Of a pod (prerouting) or of a process on the node (output). */
  readonly from: 'pod' | 'node'
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly source: string
  readonly destination: string
  readonly port: number
  /** That it came in by; none for a process on the node. */
  readonly interface?: string
  /** That interface is a bridge. */
  readonly isBridged?: boolean
  /** The first packet of a connection. */
  readonly isNew: boolean
  readonly mark?: number
  readonly connectionMark?: number
}

/** The machine around our tables. */
export interface TracedNode {
  /** The port on which a transparent socket listens; undefined while Envoy is dead. */
  readonly listener: number | undefined
  /** The port on which a socket listens that is not transparent, as an unprivileged process has it. */
  readonly impostor?: number
  readonly localAddresses: readonly string[]
  /** A number from 0 to count - 1. */
  readonly random: (count: number) => number
}

export interface Outcome {
  /** `tproxy`, `redirect`: to Envoy. `local`: to a socket of this node. */
  readonly verdict: 'forward' | 'local' | 'tproxy' | 'redirect' | 'reject' | 'reset' | 'drop'
  readonly destination: string
  readonly port: number
  readonly masqueraded: boolean
  readonly mark: number
  readonly connectionMark: number
}

/** What a rule leads to; `continue` where it ends nothing. */
type Result = 'accept' | 'drop' | 'reject' | 'reset' | 'continue'

/** One packet on its way. */
export class Trace {
  readonly #packet: Packet
  readonly #node: TracedNode
  readonly #table: TracedTable | undefined
  #destination: string
  #port: number
  #mark: number
  #connectionMark: number
  #isTranslated = false
  #isMasqueraded = false
  #toEnvoy: 'tproxy' | 'redirect' | undefined

  constructor(packet: Packet, node: TracedNode, table: TracedTable | undefined) {
    this.#packet = packet
    this.#node = node
    this.#table = table
    this.#destination = packet.destination
    this.#port = packet.port
    this.#mark = packet.mark ?? 0
    this.#connectionMark = packet.connectionMark ?? 0
  }

  run(): Outcome {
    const entry = this.#hook(this.#packet.from === 'pod' ? 'prerouting' : 'output')
    if (entry !== 'accept') return this.#outcome(entry)
    const isLocal = this.#toEnvoy !== undefined || this.#node.localAddresses.includes(this.#destination)
    if (!isLocal) {
      const forward = this.#packet.from === 'pod' ? this.#hook('forward') : 'accept'
      if (forward !== 'accept') return this.#outcome(forward)
      const exit = this.#hook('postrouting')
      return this.#outcome(exit === 'accept' ? 'forward' : exit)
    }
    const input = this.#hook('input')
    return this.#outcome(input === 'accept' ? (this.#toEnvoy ?? 'local') : input)
  }

  #outcome(verdict: Outcome['verdict']): Outcome {
    return {
      verdict,
      destination: this.#destination,
      port: this.#port,
      masqueraded: this.#isMasqueraded,
      mark: this.#mark,
      connectionMark: this.#connectionMark,
    }
  }

  #hook(hook: Hook['hook']): Exclude<Result, 'continue'> {
    const chains = [...(this.#table?.chains.values() ?? [])].filter(chain => chain.hook?.hook === hook)
    for (const { name, hook } of chains.sort((a, b) => a.hook!.priority - b.hook!.priority)) {
      // The kernel asks no chain of type nat about a connection that one before has translated.
      const isDestination = hook!.hook !== 'postrouting'
      if (hook!.type === 'nat' && (!this.#packet.isNew || (isDestination && this.#isTranslated))) continue
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

  /** After `goto` the rest of the chain is not looked at. */
  #left = false

  #rule(rule: Rule): Result {
    for (const statement of rule) {
      const result = this.#statement(statement)
      if (result === false) break
      if (result !== true) return result
    }
    return 'continue'
  }

  /** Whether it matches, or what it leads to. */
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
        return ((this.#markOf(statement.of) & statement.bit) === statement.bit) !== statement.isNot
      case 'set mark':
        return this.#setMark(statement.of, statement.bit, statement.on)
      case 'transport':
        return protocol === statement.transport
      case 'port':
        return protocol === statement.transport && this.#port === statement.port
      case 'first segment':
        return protocol === 'tcp' && isNew
      case 'not ending':
        return protocol === 'tcp'
      case 'address': {
        const address = statement.of === 'saddr' ? source : this.#destination
        return holds(statement.range, address) !== statement.isNot
      }
      case 'local address': {
        const address = statement.of === 'saddr' ? source : this.#destination
        const isLocal = this.#node.localAddresses.includes(address)
        return isLocal || (statement.of === 'saddr' && from === 'node')
      }
      case 'new connection':
        return isNew
      case 'direction':
        return statement.direction === 'original'
      case 'translated':
        return this.#isTranslated !== statement.isNot
      case 'from bridge':
        return this.#packet.isBridged === true
      case 'interface':
        return this.#isFrom(statement.name) !== statement.isNot
      case 'opaque socket':
        return this.#node.impostor === this.#port
      case 'random zero':
        return this.#node.random(statement.mod) === 0
      default:
        return this.#act(statement)
    }
  }

  #act(statement: Exclude<Statement, { kind: Matching }>): boolean | Result {
    switch (statement.kind) {
      case 'tproxy':
        return this.#node.listener === statement.port && this.#send('tproxy')
      case 'redirect':
        return this.#redirect(statement.port)
      case 'masquerade':
        this.#isMasqueraded = true
        return 'accept'
      case 'reject':
        return statement.with === 'tcp reset' ? 'reset' : 'reject'
      case 'dnat':
        return this.#translateTo(statement.to)
      case 'dnat by map':
        return this.#translateBy(statement.key, statement.map)
      case 'dnat to one of':
        return this.#translateTo(statement.endpoints[this.#node.random(statement.endpoints.length)]!)
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
    const key = this.#key(parts)
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

  #markOf(of: Marked): number {
    return of === 'meta' ? this.#mark : this.#connectionMark
  }

  #setMark(of: Marked, bit: number, on: boolean): true {
    const mark = on ? this.#markOf(of) | bit : this.#markOf(of) & ~bit
    if (of === 'meta') this.#mark = mark
    else this.#connectionMark = mark
    return true
  }

  /** Undefined where the packet has no such thing. */
  #part(part: KeyPart): Bytes | undefined {
    const { family, protocol, source } = this.#packet
    if (typeof part === 'object') return wordBytes(part.offset + this.#node.random(part.random))
    if (part === 'saddr') return addressBytes(source)
    if (part === 'daddr') return addressBytes(this.#destination)
    if (part === 'masked saddr' || part === 'masked daddr') return addressBytes(anyAddress[family])
    if (part === 'l4proto') return protocolPart(protocol)
    if (part === 'protocol') return etherTypes[family]
    return part === 'th dport' || part === `${protocol} dport` ? portPart(this.#port) : undefined
  }

  #key(parts: Key): Bytes | undefined {
    const found = parts.map(part => this.#part(part))
    return found.includes(undefined) ? undefined : found.join('')
  }

  #valueOf(map: string, parts: Key): Bytes | undefined {
    const key = this.#key(parts)
    return key === undefined ? undefined : this.#table!.sets.get(map)!.get(key)
  }

  #verdictOf(map: string, parts: Key): VerdictData | undefined {
    const value = this.#valueOf(map, parts)
    return value === undefined ? undefined : verdictOf(value)
  }

  /** A set of addresses may hold ranges of them. */
  #isIn(set: string, parts: Key): boolean {
    const key = this.#key(parts)
    if (key === undefined) return false
    const elements = this.#table!.sets.get(set)!
    if (elements.has(key)) return true
    const isRange = (range: Bytes) => range.length === 2 * key.length
    const holds = (range: Bytes) => range.slice(0, key.length) <= key && key <= range.slice(key.length)
    return parts.length === 1 && [...elements.keys()].some(range => isRange(range) && holds(range))
  }

  #send(how: 'tproxy' | 'redirect'): true {
    this.#toEnvoy = how
    return true
  }

  /** `veth*`: all names that begin so. */
  #isFrom(name: string): boolean {
    const { interface: found = '' } = this.#packet
    return name.endsWith('*') ? found.startsWith(name.slice(0, -1)) : found === name
  }

  #translateBy(key: Key, map: string): boolean | Result {
    const endpoint = this.#valueOf(map, key)
    return endpoint === undefined ? false : this.#translateTo(addressPortOf(endpoint))
  }

  #translateTo({ ip, port }: Endpoint): 'accept' {
    this.#destination = ip
    this.#port = port
    this.#isTranslated = true
    return 'accept'
  }

  #redirect(port: number): 'accept' {
    this.#send('redirect')
    return this.#translateTo({ ip: this.#packet.family === 'ip' ? '127.0.0.1' : '::1', port })
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
