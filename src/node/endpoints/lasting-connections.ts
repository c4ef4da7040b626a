/**
 * Finds Service ports whose endpoints let idle connections live, so that a request that must not be repeated may go on
 * an open one (envoy/protocols/httpfresh.ts). An endpoint counts when Envoy's own idle time-out (upstream-idle-timeout,
 * a second or more) has ended enough connections, and the endpoints none. A connection that an endpoint ends and an
 * endpoint that comes have all of it shown anew.
 */

import type { ConnectionCounts } from '../../envoy/program/admin.ts'
import type { Connections } from '../../envoy/protocols/httpfresh.ts'
import { envoyEndpointsOf, type Frontend, type Observed } from '../../envoy/resources/frontend.ts'
import { hostPort } from '../../net/address.ts'
import type { Failure } from '../../observe/accesslog/records.ts'
import type { LbPolicy } from '../../services/settings/settings.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

/** Frontends as Envoy has them. */
interface Frontends {
  frontendOf(id: string): Frontend | undefined
  lbPolicyOf(frontend: Frontend): LbPolicy
  observe(id: string, seen: Pick<Observed, 'isWatched' | 'lasting'>): void
}

/** Reads what connections to endpoints there have been, by frontend; undefined where an Envoy does not answer. */
type ReadCounts = () => Promise<ReadonlyMap<string, ConnectionCounts> | undefined>

const intervalMs = 10_000
/** Connections opened between two probes: fewer cost Envoy less than a hundredth of a core. */
const worthwhile = 200
/** Connections for each endpoint: that one had none of them, where all get the same, happens once in 20,000 times. */
const fewest = 10
/** So long nothing is watched after an endpoint has ended a connection, or a request was on that. */
const [endedHoldMs, cutHoldMs] = [600e3, 3600e3]

/** With these, endpoints get like parts of the requests, and so of the connections that are watched. */
const even: ReadonlySet<LbPolicy> = new Set(['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'])

export interface Evidence {
  /** Those that are watched. */
  readonly endpoints: ReadonlySet<string>
  /** What was counted when this stage began; while it is fresh, by the last probe. */
  readonly since: ConnectionCounts
  readonly connections: Connections
}

export class LastingConnections {
  readonly #frontends: Frontends
  readonly #read: ReadCounts
  readonly #looks = new PeriodicTask(async () => this.#look())
  #known: ReadonlyMap<string, Evidence> = new Map()
  /** Until when, by `performance.now()`. */
  readonly #held = new Map<string, number>()

  constructor(frontends: Frontends, read: ReadCounts) {
    this.#frontends = frontends
    this.#read = read
  }

  start(): void {
    this.#looks.schedule(intervalMs)
  }

  async stop(): Promise<void> {
    await this.#looks.stop()
  }

  /** A request of this frontend failed. */
  failed(id: string, { isCut }: Failure): void {
    if (!isCut || isFresh(this.#known.get(id))) return
    this.#held.set(id, performance.now() + cutHoldMs)
    this.#frontends.observe(id, { isWatched: false, lasting: undefined })
  }

  async #look(): Promise<number> {
    const all = await this.#read()
    if (!all) return intervalMs
    for (const [id, until] of this.#held) if (until < performance.now()) this.#held.delete(id)
    const known = new Map<string, Evidence>()
    for (const id of new Set([...this.#known.keys(), ...all.keys()])) {
      const frontend = this.#frontends.frontendOf(id)
      if (!frontend) continue
      const evidence = this.#evidenceOf(frontend, all.get(id))
      if (evidence) known.set(id, evidence)
      this.#publish(frontend, evidence)
    }
    this.#known = known
    return intervalMs
  }

  #evidenceOf(frontend: Frontend, counts: ConnectionCounts | undefined): Evidence | undefined {
    const { id } = frontend
    if (!counts || this.#held.has(id) || !even.has(this.#frontends.lbPolicyOf(frontend))) return undefined
    const before = this.#known.get(id)
    const evidence = evidenceOf(before, () => namesOf(frontend), counts)
    if (before && !isFresh(before) && counts.byEndpoint > before.since.byEndpoint)
      this.#held.set(id, performance.now() + endedHoldMs)
    return evidence
  }

  #publish({ id, observed }: Frontend, evidence: Evidence | undefined): void {
    const isWatched = evidence?.connections === 'watched'
    const lasting = evidence?.connections === 'lasting' ? evidence.endpoints : undefined
    if (isWatched === (observed?.isWatched ?? false) && lasting === observed?.lasting) return
    this.#frontends.observe(id, { isWatched, lasting })
  }
}

function isFresh(evidence: Evidence | undefined): boolean {
  return evidence === undefined || evidence.connections === 'fresh'
}

function namesOf(frontend: Frontend): readonly string[] {
  return envoyEndpointsOf(frontend).map(({ ip, port }) => hostPort(ip, port))
}

/**
 * Returns what is known with these counts. Endpoints that have gone make no difference.
 *
 * @param endpointsOf called for ports with connections enough
 */
export function evidenceOf(
  before: Evidence | undefined,
  endpointsOf: () => readonly string[],
  counts: ConnectionCounts,
): Evidence {
  const fresh: Evidence = { endpoints: none, since: counts, connections: 'fresh' }
  if (!before || counts.byEndpoint !== before.since.byEndpoint || counts.opened < before.since.opened) return fresh
  if (before.connections === 'fresh')
    return counts.opened - before.since.opened < worthwhile
      ? fresh
      : { ...fresh, endpoints: new Set(endpointsOf()), connections: 'watched' }
  if (!endpointsOf().every(endpoint => before.endpoints.has(endpoint))) return fresh
  if (before.connections === 'lasting') return before
  const timedOut = counts.byTimeout - before.since.byTimeout
  return timedOut < fewest * before.endpoints.size ? before : { ...before, connections: 'lasting' }
}

const none: ReadonlySet<string> = new Set()
