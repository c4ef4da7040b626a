/**
 * Counts requests that are lost in Envoy and would not be behind kube-proxy, and reports Service ports of which several
 * are. One may be a client that was stopped.
 */

import { frontendsOf, portIdOf } from '../../../envoy/resources/frontend.ts'
import type { Loss } from '../../../observe/accesslog/observations.ts'
import { isForEnvoy, type PortState, portPartOf, serviceKeyOf } from '../../../plan/ports/port.ts'
import type { PortChange } from '../../../plan/update.ts'
import { type Problem, type ProblemCode, problem } from '../../../services/problem.ts'

export interface LostRequestsOptions {
  readonly stateOf: (id: string) => PortState | undefined
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  /** The problem ends after so long without such a request, in milliseconds. */
  readonly calmMs: number
}

const fewest = 3

interface Lost {
  count: number
  readonly calm: NodeJS.Timeout
}

interface Words {
  readonly code: ProblemCode
  readonly reason: string
  readonly remedy: string
}

const words: Readonly<Record<Loss, Words>> = {
  'client-ended': {
    code: 'LP308',
    reason: 'clients ended their side before an endpoint had anything of their requests, and got no answer',
    remedy:
      'lightpath_lost_requests_total counts them; clients that end their side (FIN) with a request need an Envoy with the module and half-close: auto or true, or the kernel layer: overlay: false',
  },
  'answer-refused': {
    code: 'LP309',
    reason: 'endpoints gave answers that break the rules of HTTP, and clients got 502',
    remedy:
      'lightpath_lost_requests_total counts them; mend the answers (two lengths, chunked twice, 204 with a body, odd header names), or set overlay: false',
  },
}

export class LostRequests {
  readonly #options: LostRequestsOptions
  readonly #lost = new Map<string, Lost>()

  constructor(options: LostRequestsOptions) {
    this.#options = options
  }

  /** @param frontend its id */
  lost(frontend: string, loss: Loss): void {
    const id = portIdOf(frontend)
    if (!isServed(this.#options.stateOf(id))) return
    const origin = originOf(id, loss)
    const lost = this.#lost.get(origin)
    if (!lost) {
      const calm = setTimeout(() => this.#end(origin), this.#options.calmMs).unref()
      this.#lost.set(origin, { count: 1, calm })
      return
    }
    lost.count++
    lost.calm.refresh()
    if (lost.count === fewest) this.#options.onProblems(origin, [problemOf(id, loss)])
  }

  /** A port that has gone, or that its owner took from Envoy, has no such problem any more. */
  changed({ id, after }: PortChange): void {
    if (this.#lost.size === 0 || isServed(after)) return
    for (const loss of Object.keys(words) as Loss[]) this.#end(originOf(id, loss))
  }

  stop(): void {
    for (const { calm } of this.#lost.values()) clearTimeout(calm)
  }

  #end(origin: string): void {
    const lost = this.#lost.get(origin)
    if (!lost) return
    clearTimeout(lost.calm)
    this.#lost.delete(origin)
    this.#options.onProblems(origin, [])
  }
}

function originOf(id: string, loss: Loss): string {
  return `lost requests ${id} ${loss}`
}

/** Envoy may still have connections of a port that is not. */
function isServed(state: PortState | undefined): boolean {
  return state !== undefined && frontendsOf(state).some(({ layer }) => isForEnvoy(layer))
}

function problemOf(id: string, loss: Loss): Problem {
  const { code, reason, remedy } = words[loss]
  return problem(code, `Service ${serviceKeyOf(id)}`, `port ${portPartOf(id)}: ${reason}`, remedy)
}
