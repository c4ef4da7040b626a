/** A traced packet: as it arrives, its state on its way, and its outcome. */

import { anyAddress, type Family } from '../family.ts'
import { addressBytes, type Bytes, etherTypes, portPart, protocolPart, wordBytes } from '../nftables/bytes.ts'
import type { Endpoint, Key, KeyPart, Marked } from '../nftables/rules/statement.ts'

export interface Packet {
  readonly family: Family
  /** Sent by a pod (prerouting) or by a process on the node (output). */
  readonly from: 'pod' | 'node'
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly source: string
  readonly destination: string
  readonly port: number
  /** The interface that it came in by; none for a process on the node. */
  readonly interface?: string
  /** That interface is a bridge. */
  readonly isBridged?: boolean
  /** It is the first packet of a connection. */
  readonly isNew: boolean
  /** It repeats a first packet that nobody has answered: still new, but translated as that was, or not. */
  readonly repeats?: 'untranslated' | Endpoint
  readonly mark?: number
  readonly connectionMark?: number
}

/** The machine around our tables. */
export interface TracedNode {
  /** The ports on which transparent sockets listen; none while Envoy is dead. */
  readonly listeners: readonly number[]
  /** The port on which a socket listens that is not transparent, as that of an unprivileged process. */
  readonly impostor?: number
  readonly localAddresses: readonly string[]
  /** Returns a number from 0 to count - 1. */
  readonly random: (count: number) => number
}

export interface Outcome {
  /** `tproxy`, `redirect`: to Envoy. `local`: to a socket of this node. */
  readonly verdict: 'forward' | 'local' | 'tproxy' | 'redirect' | 'reject' | 'reset' | 'drop'
  /** The port of Envoy's that it was sent to. */
  readonly envoyPort: number | undefined
  readonly destination: string
  readonly port: number
  readonly masqueraded: boolean
  readonly mark: number
  readonly connectionMark: number
}

/** The state of a packet on its way, which rules read and change. */
export class PacketState {
  readonly #packet: Packet
  readonly #node: TracedNode
  destination: string
  port: number
  isTranslated: boolean
  isMasqueraded = false
  toEnvoy: 'tproxy' | 'redirect' | undefined
  #envoyPort: number | undefined
  #mark: number
  #connectionMark: number

  constructor(packet: Packet, node: TracedNode) {
    this.#packet = packet
    this.#node = node
    this.destination = packet.destination
    this.port = packet.port
    this.isTranslated = typeof packet.repeats === 'object'
    this.#mark = packet.mark ?? 0
    this.#connectionMark = packet.connectionMark ?? 0
  }

  outcome(verdict: Outcome['verdict']): Outcome {
    return {
      verdict,
      envoyPort: this.#envoyPort,
      destination: this.destination,
      port: this.port,
      masqueraded: this.isMasqueraded,
      mark: this.#mark,
      connectionMark: this.#connectionMark,
    }
  }

  markOf(of: Marked): number {
    return of === 'meta' ? this.#mark : this.#connectionMark
  }

  setMark(of: Marked, bit: number, on: boolean): true {
    const mark = on ? this.markOf(of) | bit : this.markOf(of) & ~bit
    if (of === 'meta') this.#mark = mark
    else this.#connectionMark = mark
    return true
  }

  /** Returns a lookup key; undefined where the packet lacks a part of it. */
  key(parts: Key): Bytes | undefined {
    const found = parts.map(part => this.#part(part))
    return found.includes(undefined) ? undefined : found.join('')
  }

  #part(part: KeyPart): Bytes | undefined {
    const { family, protocol, source } = this.#packet
    if (typeof part === 'object') return wordBytes(part.offset + this.#node.random(part.random))
    if (part === 'saddr') return addressBytes(source)
    if (part === 'daddr') return addressBytes(this.destination)
    if (part === 'masked saddr' || part === 'masked daddr') return addressBytes(anyAddress[family])
    if (part === 'l4proto') return protocolPart(protocol)
    if (part === 'protocol') return etherTypes[family]
    return part === 'th dport' || part === `${protocol} dport` ? portPart(this.port) : undefined
  }

  /** Whether the packet came in by an interface of this name; `veth*` is all names that begin so. */
  isFrom(name: string): boolean {
    const { interface: found = '' } = this.#packet
    return name.endsWith('*') ? found.startsWith(name.slice(0, -1)) : found === name
  }

  send(how: 'tproxy' | 'redirect', port: number): true {
    this.toEnvoy = how
    this.#envoyPort = port
    return true
  }

  translateTo({ ip, port }: Endpoint): 'accept' {
    this.destination = ip
    this.port = port
    this.isTranslated = true
    return 'accept'
  }

  /** As the kernel does between its hooks, whatever rules say. */
  repeatTranslation(): void {
    const { repeats } = this.#packet
    if (typeof repeats === 'object') this.translateTo(repeats)
  }

  redirect(port: number): 'accept' {
    this.send('redirect', port)
    return this.translateTo({ ip: this.#packet.family === 'ip' ? '127.0.0.1' : '::1', port })
  }
}
