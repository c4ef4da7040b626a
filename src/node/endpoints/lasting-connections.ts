/**
 * Finds Service ports whose endpoints let idle connections live, so that a request that must not be repeated may go on
 * an open one (envoy/protocols/httpfresh.ts). An endpoint counts when Envoy's own idle time-out (upstream-idle-timeout,
 * a second or more) has ended enough connections, and the endpoints none. A connection that an endpoint ends or that
 * speaks HTTP/2, an endpoint that comes and another idle time-out have all of it shown anew.
 */

import type { ConnectionCounts } from '../../envoy/program/admin.ts'
import type { Connections } from '../../envoy/protocols/httpfresh.ts'
import { envoyEndpointsOf, type Frontend, type Observed } from '../../envoy/resources/frontend.ts'
import { hostPort } from '../../net/address.ts'
import type { Failure } from '../../observe/accesslog/records.ts'
import type { LbPolicy } from '../../services/settings/settings.ts'
import { isTurnOver, nextTurn } from '../../worker/turns.ts'
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

/** No request chooses a connection that was idle for longer than half a second: it waits for this time-out. */
const longestIdleMs = 10_000

/** With these, endpoints get like parts of the requests, and so of the connections that are watched. */
const even: ReadonlySet<LbPolicy> = new Set(['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'])

export interface Evidence {
  /** Those that are watched. */
  readonly endpoints: ReadonlySet<string>
  /** The port's time-out of Envoy, in milliseconds. */
  readonly idleTimeout: number
  /** What was counted when this stage began; while it is fresh, by the last probe. */
  readonly since: ConnectionCounts
  readonly connections: Connections
}

export class LastingConnections {
  readonly #frontends: Frontends
  readonly #read: ReadCounts
  readonly #task = new PeriodicTask(async () => this.#probe())
  readonly #known = new Map<string, Evidence>()
  /** Until when, by `performance.now()`. */
  readonly #held = new Map<string, number>()

  constructor(frontends: Frontends, read: ReadCounts) {
    this.#frontends = frontends
    this.#read = read
  }

  start(): void {
    this.#task.schedule(intervalMs)
  }

  async stop(): Promise<void> {
    await this.#task.stop()
  }

  /** A request of this frontend failed. */
  failed(id: string, { isCut }: Failure): void {
    if (!isCut || isFresh(this.#known.get(id))) return
    this.#held.set(id, performance.now() + cutHoldMs)
    this.#frontends.observe(id, { isWatched: false, lasting: undefined })
  }

  async #probe(): Promise<number> {
    const all = await this.#read()
    if (!all) return intervalMs
    for (const [id, until] of this.#held) if (until < performance.now()) this.#held.delete(id)
    for (const id of new Set([...this.#known.keys(), ...all.keys()])) {
      if (isTurnOver()) await nextTurn()
      const frontend = this.#frontends.frontendOf(id)
      const evidence = frontend && this.#evidenceOf(frontend, all.get(id))
      if (evidence) this.#known.set(id, evidence)
      else this.#known.delete(id)
      if (frontend) this.#publish(frontend, evidence)
    }
    return intervalMs
  }

  #evidenceOf(frontend: Frontend, counts: ConnectionCounts | undefined): Evidence | undefined {
    const { id } = frontend
    if (!counts || this.#held.has(id) || !even.has(this.#frontends.lbPolicyOf(frontend))) return undefined
    const before = this.#known.get(id)
    if (before && !isFresh(before) && isSpoiled(before, counts)) this.#held.set(id, performance.now() + endedHoldMs)
    return evidenceOf(before, frontend, counts)
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

/** Endpoints have ended connections, or some are of HTTP/2: idle ones tell nothing then of those of HTTP/1. */
function isSpoiled({ since }: Evidence, { byEndpoint, http2 }: ConnectionCounts): boolean {
  return byEndpoint > since.byEndpoint || http2 > since.http2
}

/** Returns what is known of the frontend with these counts. Endpoints that have gone make no difference. */
export function evidenceOf(before: Evidence | undefined, frontend: Frontend, counts: ConnectionCounts): Evidence {
  const idleTimeout = frontend.settings.upstreamIdleTimeout
  const fresh: Evidence = { endpoints: none, idleTimeout, since: counts, connections: 'fresh' }
  if (!before || before.idleTimeout !== idleTimeout || isSpoiled(before, counts) || isLess(counts, before.since))
    return fresh
  const areKnown = () => namesOf(frontend).every(endpoint => before.endpoints.has(endpoint))
  if (before.connections === 'lasting') return areKnown() ? before : fresh
  if (!isWatchable(frontend, counts)) return fresh
  if (before.connections === 'fresh')
    return counts.opened - before.since.opened < worthwhile
      ? fresh
      : { ...fresh, endpoints: new Set(namesOf(frontend)), connections: 'watched' }
  if (!areKnown()) return fresh
  const timedOut = counts.byTimeout - before.since.byTimeout
  return timedOut < fewest * before.endpoints.size ? before : { ...before, connections: 'lasting' }
}

/** Connections time out soon, and each endpoint gets its part of them. */
function isWatchable({ settings, spillOver = [], observed }: Frontend, { ejected }: ConnectionCounts): boolean {
  const { upstreamIdleTimeout: ms } = settings
  return ms > 0 && ms <= longestIdleMs && spillOver.length === 0 && ejected === 0 && !observed?.ejected?.size
}

/** Whether an Envoy has ended: counts begin anew. */
function isLess(counts: ConnectionCounts, since: ConnectionCounts): boolean {
  return counts.opened < since.opened || counts.byEndpoint < since.byEndpoint
}

const none: ReadonlySet<string> = new Set()
