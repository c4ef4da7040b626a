/** Proves again and again that the client's address can be preserved, also whether an earlier proof still holds. */

import { tellsPods } from '../../kernel/nodeconfig.ts'
import type { NodePlanOptions } from '../../kernel/options.ts'
import type { IpFamily } from '../../net/address.ts'
import type { NodePlan } from '../../plan/nodeplan.ts'
import type { Envoys } from '../envoy/envoys.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'
import { type ClientAddressChoice, proveClientAddress } from './clientaddress.ts'
import { localPods } from './podpath.ts'

export interface ClientAddressWatchOptions {
  /** The choice before the first probe. */
  readonly initial: ClientAddressChoice
  readonly prove: () => Promise<ClientAddressChoice>
  /** The choice or its reason changed. */
  readonly onChoice: (choice: ClientAddressChoice) => Promise<void>
  /** How long after `probe` the probe begins. */
  readonly settleMs: number
  /** From a probe to the next, doubled each time, up to `longestMs`. */
  readonly shortestMs: number
  readonly longestMs: number
}

const times = { settleMs: 500, shortestMs: 5000, longestMs: 300_000 }

export interface AgentParts extends Pick<NodePlanOptions, 'families' | 'detectLocalMode' | 'clusterCidr'> {
  readonly nodeName: string
  readonly envoyMark: number
  readonly plan: NodePlan
  readonly envoys: Pick<Envoys, 'bootstraps'>
  /** The choice at the start. */
  readonly clientAddress: ClientAddressChoice
  readonly onChoice: (choice: ClientAddressChoice) => Promise<void>
}

/** Probes when it is asked to, and again and again. */
export function watchClientAddress({ plan, envoys, onChoice, ...options }: AgentParts): ClientAddressWatch {
  const { nodeName, families, envoyMark, clientAddress: initial } = options
  return new ClientAddressWatch({
    ...times,
    initial,
    onChoice,
    prove: () =>
      proveClientAddress({
        families,
        envoyMark,
        tellsPods: tellsPods(plan.node, options),
        bootstraps: envoys.bootstraps,
        pods: localPods(nodeName, plan),
        elsewhere: elsewhereOf(nodeName, plan, families),
      }),
  })
}

/** Returns an endpoint on another node, for each family that has one. */
function elsewhereOf(nodeName: string, plan: NodePlan, families: readonly IpFamily[]): readonly string[] {
  const found = new Map<IpFamily, string>()
  for (const { family, endpoints } of plan.states()) {
    if (found.has(family)) continue
    const other = endpoints.find(endpoint => endpoint.nodeName !== undefined && endpoint.nodeName !== nodeName)
    if (other) found.set(family, other.ip)
    if (found.size === families.length) break
  }
  return [...found.values()]
}

export class ClientAddressWatch {
  readonly #options: ClientAddressWatchOptions
  readonly #task = new PeriodicTask(() => this.#probe())
  #pauseMs: number
  #isStale = false
  #last: ClientAddressChoice

  constructor(options: ClientAddressWatchOptions) {
    this.#options = options
    this.#last = options.initial
    this.#pauseMs = options.shortestMs
  }

  /** Something changed that the proof depends on. */
  probe(): void {
    if (this.#task.isRunning) this.#isStale = true
    else this.#task.schedule(this.#options.settleMs)
  }

  stop(): Promise<void> {
    return this.#task.stop()
  }

  /** Returns how long it is until the next probe. */
  async #probe(): Promise<number> {
    this.#isStale = false
    await this.#prove()
    const { settleMs, shortestMs, longestMs } = this.#options
    const pauseMs = this.#isStale ? settleMs : this.#pauseMs
    this.#pauseMs = this.#isStale ? shortestMs : Math.min(2 * this.#pauseMs, longestMs)
    return pauseMs
  }

  async #prove(): Promise<void> {
    const choice = await this.#options.prove()
    if (this.#task.hasEnded || choice.why === this.#last.why) return
    if (this.#last.mode === 'preserve' && (choice.mode === 'preserve' || choice.isUndecided)) return
    this.#last = choice
    await this.#options.onChoice(choice)
  }
}
