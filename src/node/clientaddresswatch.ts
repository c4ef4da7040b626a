/** Looks for the proof that the client's address can be preserved, again and again, until there is one. */

import { type NodePlanOptions, tellsPods } from '../kernel/node.ts'
import type { IpFamily } from '../services/address.ts'
import type { ServiceTable } from '../services/table.ts'
import { type ClientAddressChoice, proveClientAddress } from './clientaddress.ts'
import type { Envoys } from './envoys.ts'
import { localPods } from './path.ts'
import { Recurring } from './recurring.ts'

export interface ClientAddressWatchOptions {
  readonly prove: () => Promise<ClientAddressChoice>
  /** It is not proven, and for another reason than before; or it is, which is told once and last. */
  readonly onChoice: (choice: ClientAddressChoice) => Promise<void>
  /** How long after `look` it is looked. */
  readonly settleMs: number
  /** From a look to the next, doubled each time, up to `longestMs`. */
  readonly shortestMs: number
  readonly longestMs: number
}

const times = { settleMs: 500, shortestMs: 5000, longestMs: 300_000 }

export interface AgentParts extends Pick<NodePlanOptions, 'families' | 'detectLocalMode' | 'clusterCidr'> {
  readonly nodeName: string
  readonly table: ServiceTable
  readonly envoys: Pick<Envoys, 'bootstraps'>
  readonly onChoice: (choice: ClientAddressChoice) => Promise<void>
}

/** Looks when it is told to, and goes on until there is a proof. */
export function watchClientAddress({ table, envoys, onChoice, ...options }: AgentParts): ClientAddressWatch {
  const { nodeName, families } = options
  return new ClientAddressWatch({
    ...times,
    onChoice,
    prove: () =>
      proveClientAddress({
        families,
        tellsPods: tellsPods(table.node, options),
        bootstraps: envoys.bootstraps,
        pods: localPods(nodeName, table),
        elsewhere: elsewhereOf(nodeName, table, families),
      }),
  })
}

/** An endpoint on another node, for each family that has one. */
function elsewhereOf(nodeName: string, table: ServiceTable, families: readonly IpFamily[]): readonly string[] {
  const found = new Map<IpFamily, string>()
  for (const { family, endpoints } of table.states()) {
    if (found.has(family)) continue
    const other = endpoints.find(endpoint => endpoint.nodeName !== undefined && endpoint.nodeName !== nodeName)
    if (other) found.set(family, other.ip)
    if (found.size === families.length) break
  }
  return [...found.values()]
}

export class ClientAddressWatch {
  readonly #options: ClientAddressWatchOptions
  readonly #looks = new Recurring(() => this.#look())
  #pauseMs: number
  #isStale = false
  #why: string | undefined

  constructor(options: ClientAddressWatchOptions) {
    this.#options = options
    this.#pauseMs = options.shortestMs
  }

  /** Something changed that it depends on. */
  look(): void {
    if (this.#looks.isRunning) this.#isStale = true
    else this.#looks.schedule(this.#options.settleMs)
  }

  stop(): Promise<void> {
    return this.#looks.stop()
  }

  /** Returns how long it is until the next look. */
  async #look(): Promise<number> {
    this.#isStale = false
    await this.#prove()
    const { settleMs, shortestMs, longestMs } = this.#options
    const pauseMs = this.#isStale ? settleMs : this.#pauseMs
    this.#pauseMs = this.#isStale ? shortestMs : Math.min(2 * this.#pauseMs, longestMs)
    return pauseMs
  }

  async #prove(): Promise<void> {
    const choice = await this.#options.prove()
    if (this.#looks.hasEnded) return
    if (choice.mode === 'preserve') this.#looks.end()
    if (choice.why === this.#why) return
    this.#why = choice.why
    await this.#options.onChoice(choice)
  }
}
