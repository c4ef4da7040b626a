/**
 * Keeps Envoy from filling up with connections. Well before it has as many as it takes, the ports with most of them are
 * held back (overloadrelief.ts), and all others go on through Envoy. Only a flood that fills the rest within a second
 * makes Envoy turn connections away (envoy/canary.ts).
 */

import { type Repeated, repeat } from '../../kernel/sync/repeat.ts'
import type { EnvoyConnections } from './heaviest.ts'

export interface ConnectionWatchOptions {
  /** Returns how many connections of clients the Envoys of this node take; undefined where none is connected. */
  readonly limit: () => number | undefined
  /** Counts the TCP sockets of the node's network, Envoy's among them. */
  readonly sockets: () => Promise<number>
  /** Counts exactly, at a cost that grows with the node's connections. */
  readonly connections: () => Promise<EnvoyConnections>
  readonly onMany: (connections: EnvoyConnections) => void
}

const everyMs = 1000
/** The share of the time for counting. */
const share = 0.05
/** The part of the limit at which ports are held back for the first time. */
const many = 0.6
/** Connections of ports that are held back end slowly; so much more, as a part of the limit, are others'. */
const more = 0.1

export class ConnectionWatch {
  readonly #options: ConnectionWatchOptions
  #task: Repeated | undefined
  /** How many there were when ports were last held back, or fewer, since some have ended. */
  #relievedAt: number | undefined

  constructor(options: ConnectionWatchOptions) {
    this.#options = options
  }

  watch(): void {
    this.#task = repeat(() => this.probe(), everyMs, share)
  }

  stop(): void {
    this.#task?.stop()
  }

  async probe(): Promise<void> {
    const { connections, limit, onMany, sockets } = this.#options
    const most = limit()
    if (most === undefined) return
    if ((await sockets()) < many * most) {
      this.#relievedAt = undefined
      return
    }
    const found = await connections()
    if (this.#relievedAt !== undefined) this.#relievedAt = Math.min(this.#relievedAt, found.total)
    if (found.total < many * most) this.#relievedAt = undefined
    else if (found.total >= (this.#relievedAt ?? 0) + more * most) {
      this.#relievedAt = found.total
      onMany(found)
    }
  }
}
