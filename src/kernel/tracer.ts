/** What becomes of one packet in the tables of the model (`model.ts`), and in the machine around them. */

import { contains } from '../services/cidr.ts'
import type { Family } from './elements.ts'
import { anyAddress } from './external.ts'
import { parseElements } from './listing.ts'

export interface TracedTable {
  /** By name of the set or map: its elements. */
  readonly sets: Map<string, Map<string, string>>
  readonly chains: Map<string, string[]>
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
export interface Surroundings {
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

const priorities: Readonly<Record<string, number>> = { mangle: -150, dstnat: -100, filter: 0, srcnat: 100 }

type Verdict = 'accept' | 'drop' | 'reject' | 'reset' | 'continue'

/** One packet on its way. */
export class Trace {
  readonly #packet: Packet
  readonly #surroundings: Surroundings
  readonly #table: TracedTable | undefined
  #destination: string
  #port: number
  #mark: number
  #connectionMark: number
  #isTranslated = false
  #isMasqueraded = false
  #toEnvoy: 'tproxy' | 'redirect' | undefined

  constructor(packet: Packet, surroundings: Surroundings, table: TracedTable | undefined) {
    this.#packet = packet
    this.#surroundings = surroundings
    this.#table = table
    this.#destination = packet.destination
    this.#port = packet.port
    this.#mark = packet.mark ?? 0
    this.#connectionMark = packet.connectionMark ?? 0
  }

  run(): Outcome {
    const entry = this.#hook(this.#packet.from === 'pod' ? 'prerouting' : 'output')
    if (entry !== 'accept') return this.#outcome(entry)
    const isLocal = this.#toEnvoy !== undefined || this.#surroundings.localAddresses.includes(this.#destination)
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

  #hook(hook: string): 'accept' | 'drop' | 'reject' | 'reset' {
    const chains: { name: string; type: string; priority: number }[] = []
    for (const [name, rules] of this.#table?.chains ?? []) {
      const match = /^type (\w+) hook (\w+) priority (\S+);/.exec(rules[0] ?? '')
      if (match?.[2] !== hook) continue
      chains.push({ name, type: match[1]!, priority: priorities[match[3]!] ?? Number(match[3]) })
    }
    for (const { name, type } of chains.sort((a, b) => a.priority - b.priority)) {
      if (type === 'nat' && !this.#packet.isNew) continue
      const verdict = this.#chain(name)
      if (verdict !== 'accept' && verdict !== 'continue') return verdict
    }
    return 'accept'
  }

  #chain(name: string): Verdict {
    const rules = this.#table!.chains.get(name)!
    for (const rule of rules) {
      if (rule.startsWith('type ')) continue
      const verdict = this.#rule(rule)
      if (verdict !== 'continue') return verdict
      if (this.#left) break
    }
    this.#left = false
    return 'continue'
  }

  /** After `goto` the rest of the chain is not looked at. */
  #left = false

  #rule(rule: string): Verdict {
    let rest = rule
    while (rest !== '') {
      const step = this.#statement(rest)
      if (step.verdict) return step.verdict
      if (!step.matches) return 'continue'
      rest = rest.slice(step.length).trimStart()
    }
    return 'continue'
  }

  #statement(text: string): { length: number; matches: boolean; verdict?: Verdict } {
    for (const [pattern, evaluate] of this.#statements()) {
      const match = pattern.exec(text)
      if (!match) continue
      const result = evaluate(match)
      return typeof result === 'string'
        ? { length: match[0].length, matches: true, verdict: result }
        : { length: match[0].length, matches: result }
    }
    throw new Error(`the tracer does not know ${text}`)
  }

  #statements(): readonly (readonly [RegExp, (match: RegExpExecArray) => boolean | Verdict])[] {
    const { family, protocol, isNew, source, from } = this.#packet
    const isLocal = (ip: string) => this.#surroundings.localAddresses.includes(ip)
    const [address, port] = [this.#destination, this.#port]
    const has = (set: string, key: string) => this.#table!.sets.get(set)!.has(key)
    const jump = (value: string | undefined): boolean | Verdict => {
      if (value === undefined) return false
      const [verb, chain] = value.split(' ')
      if (chain === undefined) return value as Verdict
      const verdict = this.#chain(chain)
      this.#left = verb === 'goto' && verdict === 'continue'
      return verdict
    }
    const bits = (mark: number, operator: string, bit: string) =>
      ((mark & Number(bit)) === Number(bit)) === (operator === '==')
    return [
      [/^ct direction original\b/, () => true],
      [/^ct direction reply\b/, () => false],
      [/^ct state (!= )?new\b/, match => isNew === (match[1] === undefined)],
      [/^ct mark & (\w+) (==) \1/, match => bits(this.#connectionMark, match[2]!, match[1]!)],
      [/^meta mark & (\w+) (==|!=) \1/, match => bits(this.#mark, match[2]!, match[1]!)],
      [/^meta mark set meta mark & (\w+)/, match => this.#maskMark(Number(match[1]))],
      [/^meta mark set meta mark \| (\w+)/, match => this.#setMarks(Number(match[1]), 0)],
      [/^ct mark set ct mark \| (\w+)/, match => this.#setMarks(0, Number(match[1]))],
      [/^ct status dnat\b/, () => this.#isTranslated],
      [/^ct status & dnat != dnat\b/, () => !this.#isTranslated],
      [/^meta protocol @(\S+)/, match => has(match[1]!, family)],
      [/^meta iifkind "bridge"/, () => this.#packet.isBridged === true],
      [/^meta l4proto (\w+)/, match => protocol === match[1]],
      [/^tcp flags & \(syn \| ack\) == syn\b/, () => protocol === 'tcp' && isNew],
      [/^tcp dport (\d+)/, match => protocol === 'tcp' && port === Number(match[1])],
      [
        /^ip6? daddr( & \S+)? \. tcp dport @(\S+)/,
        match => protocol === 'tcp' && has(match[2]!, `${this.#key(match[1])} . ${port}`),
      ],
      [/^ip6? daddr @(\S+)/, match => this.#hasRange(match[1]!, '', address)],
      [/^ip6? daddr != ([\da-f.:/]+)/, match => !holds(match[1]!, address)],
      [/^fib daddr type local\b/, () => isLocal(address)],
      [/^fib saddr type local\b/, () => from === 'node' || isLocal(source)],
      [/^ip6? saddr (!= )?@(\S+)/, match => this.#hasRange(match[2]!, '', source) === (match[1] === undefined)],
      [/^ip6? saddr & \S+ @(\S+)/, match => has(match[1]!, anyAddress[family])],
      [/^tcp flags & \(fin \| rst\) == 0x0/, () => protocol === 'tcp'],
      [
        /^iifname (!= )?"([^"*]+)(\*?)"/,
        ([, not, name, star]) => this.#isFrom(name!, star !== '') === (not === undefined),
      ],
      [/^update @(\S+) \{ ip6? saddr timeout \S+ \}/, match => this.#remember(match[1]!)],
      [/^numgen random mod (\d+) 0\b/, match => this.#surroundings.random(Number(match[1])) === 0],
      [/^ip6? saddr \. ip6? daddr @(\S+)/, match => has(match[1]!, `${source} . ${address}`)],
      [/^ip6? daddr \. meta l4proto \. th dport @(\S+)/, match => has(match[1]!, `${address} . ${protocol} . ${port}`)],
      [
        /^ip6? daddr \. meta l4proto \. th dport \. ip6? saddr != @(\S+)/,
        match => !this.#hasRange(match[1]!, `${address} . ${protocol} . ${port} . `, source),
      ],
      [
        /^ip6? daddr( & \S+)? \. meta l4proto \. th dport vmap @(\S+)/,
        match => jump(this.#table!.sets.get(match[2]!)!.get(`${this.#key(match[1])} . ${protocol} . ${port}`)),
      ],
      [
        /^dnat ip6? to ip6? daddr( & \S+)? \. (\w+) dport \. numgen random mod (\d+)(?: offset (\d+))? map @(\S+)/,
        match => this.#translate(match),
      ],
      [/^dnat to \[?([\da-f.:]+?)\]?:(\d+)$/, match => this.#translateTo(match[1]!, Number(match[2]))],
      [
        /^dnat ip6? to numgen random mod (\d+) map \{ (.*) \}/,
        match => this.#translateTo(...this.#choose(Number(match[1]), match[2]!)),
      ],
      [/^tproxy to :(\d+)/, match => this.#surroundings.listener === Number(match[1]) && this.#send('tproxy')],
      [/^redirect to :(\d+)/, match => this.#redirect(Number(match[1]))],
      [/^socket transparent 0\b/, () => this.#surroundings.impostor === this.#port],
      [/^masquerade fully-random/, () => this.#masquerade()],
      [/^reject with tcp reset/, () => 'reset'],
      [/^reject/, () => 'reject'],
      [/^accept/, () => 'accept'],
      [/^drop/, () => 'drop'],
      [/^(goto|jump) \S+/, match => jump(match[0])],
    ]
  }

  #setMarks(mark: number, connectionMark: number): boolean {
    this.#mark |= mark
    this.#connectionMark |= connectionMark
    return true
  }

  #send(how: 'tproxy' | 'redirect'): boolean {
    this.#toEnvoy = how
    return true
  }

  /** Whether the set has a range that holds the address, behind these words. */
  #hasRange(set: string, words: string, ip: string): boolean {
    const keys = [...this.#table!.sets.get(set)!.keys()]
    return keys.some(key => key.startsWith(words) && holds(key.slice(words.length), ip))
  }

  #maskMark(mask: number): boolean {
    this.#mark &= mask
    return true
  }

  #isFrom(name: string, isPrefix: boolean): boolean {
    const { interface: found = '' } = this.#packet
    return isPrefix ? found.startsWith(name) : found === name
  }

  /** The destination, or what is left of it under the mask of node ports. */
  #key(mask: string | undefined): string {
    return mask === undefined ? this.#destination : anyAddress[this.#packet.family]
  }

  #translate([, mask, transport, count, offset, map]: RegExpExecArray): boolean | Verdict {
    if (transport !== this.#packet.protocol) return false
    const slot = Number(offset ?? 0) + this.#surroundings.random(Number(count))
    const endpoint = this.#table!.sets.get(map!)!.get(`${this.#key(mask)} . ${this.#port} . ${slot}`)
    if (endpoint === undefined) return false
    const [ip, port] = endpoint.split(' . ')
    return this.#translateTo(ip!, Number(port))
  }

  #translateTo(ip: string, port: number): Verdict {
    this.#destination = ip
    this.#port = port
    this.#isTranslated = true
    return 'accept'
  }

  #choose(count: number, elements: string): [ip: string, port: number] {
    const [, value] = [...parseElements(elements)][this.#surroundings.random(count)]!
    const [ip, port] = value.split(' . ')
    return [ip!, Number(port)]
  }

  #remember(set: string): boolean {
    this.#table!.sets.get(set)!.set(this.#packet.source, '')
    return true
  }

  #redirect(port: number): Verdict {
    this.#send('redirect')
    this.#destination = this.#packet.family === 'ip' ? '127.0.0.1' : '::1'
    this.#port = port
    this.#isTranslated = true
    return 'accept'
  }

  #masquerade(): Verdict {
    this.#isMasqueraded = true
    return 'accept'
  }
}

/** @param range a CIDR, or one address */
function holds(range: string, ip: string): boolean {
  return range.includes('/') ? contains(range, ip) : range === ip
}
