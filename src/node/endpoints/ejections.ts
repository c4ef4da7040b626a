/**
 * Ejects endpoints that fail far more than their siblings (comparison.ts), through their health in EDS. Envoy's own
 * detection cannot: it counts errors in a row, or compares by the standard deviation, for which the only endpoint with
 * an error is as far away as one that always fails.
 *
 * The access log reports the Service ports whose requests fail. Envoy is asked how each of their endpoints does until
 * none fails any more.
 */

import type { EndpointLoads } from '../../envoy/program/admin.ts'
import { hashesClients } from '../../envoy/resources/cluster/loadbalancing.ts'
import { type Frontend, resourceNameOf } from '../../envoy/resources/frontend.ts'
import { hostPort } from '../../net/address.ts'
import type { Log } from '../../observe/log.ts'
import { isByRequest } from '../../services/settings/envoyprotocol.ts'
import type { LbPolicy } from '../../services/settings/settings.ts'
import { type Failures, worseThanSiblings } from './comparison.ts'
import type { Speed } from './slow.ts'

export interface EjectionsOptions {
  /** The frontend as Envoy has it; undefined where it has none with this id. */
  readonly frontendOf: (id: string) => Frontend | undefined
  /** Says how Envoy chooses among the frontend's endpoints. */
  readonly lbPolicyOf: (frontend: Frontend) => LbPolicy
  /** Reads what endpoints have had since Envoys know them, by name of their cluster. */
  readonly loads: (clusters: readonly string[]) => Promise<ReadonlyMap<string, EndpointLoads>>
  /** Sets the frontend's ejected endpoints, as `hostPort` writes them. */
  readonly eject: (id: string, endpoints: ReadonlySet<string>) => void
  readonly onEjection: (id: string) => void
  readonly log: Pick<Log, 'warn'>
}

interface Suspect {
  /** When the comparison began. */
  since: number
  /** What endpoints had had by then. */
  before: EndpointLoads | undefined
}

interface Rest {
  readonly ms: number
  readonly until: number
  /** Deletes the suspect, where nothing fails any more. */
  readonly forget: NodeJS.Timeout
}

interface Ejection {
  /** How many times in a row the endpoint was ejected, this time included. */
  readonly times: number
  readonly isOver: boolean
  readonly timer: NodeJS.Timeout
}

const intervalMs = 250
/** The comparison goes back no further. */
const windowMs = 4000
/** A Service port whose endpoints all fail alike is left alone for a while, twice as long each time. */
const [firstRestMs, longestRestMs] = [1000, 60_000]
/** How many endpoints Envoy is asked about at once. It writes a kilobyte for each. Namespaces share them. */
const mostEndpoints = 1000

export class Ejections {
  readonly #options: EjectionsOptions
  readonly #suspects = new Map<string, Suspect>()
  readonly #rests = new Map<string, Rest>()
  readonly #ejections = new Map<string, Map<string, Ejection>>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: EjectionsOptions) {
    this.#options = options
  }

  /** A request of this frontend failed. */
  failed(id: string): void {
    if (this.#suspects.has(id) || (this.#rests.get(id)?.until ?? 0) > performance.now()) return
    const frontend = this.#compared(id)
    if (!frontend) return
    if (!this.#makeRoomFor(frontend)) return
    this.#suspects.set(id, { since: 0, before: undefined })
    this.#timer ??= setTimeout(() => void this.#probe(), 0)
  }

  /** Where there is none, suspects of the namespace that has most endpoints among them give way, if it has more. */
  #makeRoomFor({ namespace, endpoints }: Frontend): boolean {
    const suspects = [...this.#suspects.keys()].flatMap(id => this.#options.frontendOf(id) ?? [])
    let room = mostEndpoints - endpointsOf(suspects)
    if (room >= endpoints.length) return true
    const byNamespace = Map.groupBy(suspects, one => one.namespace)
    const [most = []] = [...byNamespace.values()].sort((a, b) => endpointsOf(b) - endpointsOf(a))
    const own = endpointsOf(byNamespace.get(namespace) ?? []) + endpoints.length
    if (endpointsOf(most) <= own) return false
    for (const { id, endpoints: freed } of most) {
      if (room >= endpoints.length) break
      this.#suspects.delete(id)
      room += freed.length
    }
    return true
  }

  #compared(id: string): Frontend | undefined {
    const frontend = this.#options.frontendOf(id)
    return isCompared(frontend, frontend && this.#options.lbPolicyOf(frontend)) ? frontend : undefined
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const ejections of this.#ejections.values()) for (const { timer } of ejections.values()) clearTimeout(timer)
    for (const { forget } of this.#rests.values()) clearTimeout(forget)
  }

  async #probe(): Promise<void> {
    const found = [...this.#suspects.keys()].map(id => this.#compared(id)).filter(frontend => frontend !== undefined)
    const loads = await this.#loads(found)
    for (const [id, suspect] of this.#suspects) {
      const frontend = found.find(one => one.id === id)
      const now = frontend && loads.get(resourceNameOf(frontend))
      if (!frontend || !now || !this.#compare(frontend, suspect, now)) this.#suspects.delete(id)
    }
    const isOver = this.#stopped || this.#suspects.size === 0
    this.#timer = isOver ? undefined : setTimeout(() => void this.#probe(), intervalMs)
  }

  /** Returns an empty map where Envoy cannot be asked. */
  async #loads(frontends: readonly Frontend[]): Promise<ReadonlyMap<string, EndpointLoads>> {
    try {
      return await this.#options.loads(frontends.map(resourceNameOf))
    } catch (error) {
      this.#options.log.warn({ reason: (error as Error).message }, 'endpoints cannot be compared')
      return new Map()
    }
  }

  /** Returns whether the port is still a suspect. */
  #compare(frontend: Frontend, suspect: Suspect, now: EndpointLoads): boolean {
    const { before } = suspect
    const time = performance.now()
    if (before) {
      const since = loadsSince(frontend, before, now).filter(({ endpoint }) => !this.#isEjected(frontend.id, endpoint))
      const worse = worseThanSiblings(since, frontend.settings.outlierDetectionFailurePercentage / 100)
      const ejected = worse.slice(0, this.#mostOf(frontend))
      for (const { endpoint, ...seen } of ejected) this.#eject(frontend, endpoint, seen, 'fails far more')
      if (ejected.length > 0) this.#rests.delete(frontend.id)
      else {
        if (time - suspect.since < windowMs) return true
        this.#rest(frontend.id)
        return false
      }
    }
    suspect.before = now
    suspect.since = time
    return true
  }

  #rest(id: string): void {
    const before = this.#rests.get(id)
    clearTimeout(before?.forget)
    const ms = before ? Math.min(2 * before.ms, longestRestMs) : firstRestMs
    const forget = setTimeout(() => this.#rests.delete(id), 2 * ms + windowMs).unref()
    this.#rests.set(id, { ms, until: performance.now() + ms, forget })
  }

  /** Limits ejections as Envoy does: one always may be ejected, however small the percentage. */
  #mostOf({ id, endpoints, settings }: Frontend): number {
    const most = Math.floor((endpoints.length * settings.outlierDetectionMaxEjectionPercent) / 100)
    const ejected = endpoints.filter(({ ip, port }) => this.#isEjected(id, hostPort(ip, port))).length
    return Math.max(0, Math.max(1, most) - ejected)
  }

  #isEjected(id: string, endpoint: string): boolean {
    return this.#ejections.get(id)?.get(endpoint)?.isOver === false
  }

  /** Ejects as many as allowed of these endpoints, which take far longer to answer than the others. */
  slow(frontend: Frontend, endpoints: readonly Speed[]): void {
    const isOut = ({ endpoint }: Speed) => this.#isEjected(frontend.id, endpoint)
    const ejected = endpoints.filter(one => !isOut(one)).slice(0, this.#mostOf(frontend))
    for (const { endpoint, ms } of ejected)
      this.#eject(frontend, endpoint, { answersInMs: Math.round(ms) }, 'is far slower')
  }

  /**
   * Ejects for as long as Envoy would: longer each time, until the endpoint was well for as long.
   * @param why how it does worse than the others
   */
  #eject({ id, settings }: Frontend, endpoint: string, seen: object, why: string): void {
    const ejections = this.#ejections.get(id) ?? new Map<string, Ejection>()
    this.#ejections.set(id, ejections)
    const before = ejections.get(endpoint)
    clearTimeout(before?.timer)
    const times = (before?.times ?? 0) + 1
    const ms = Math.min(
      settings.outlierDetectionBaseEjectionTime * times,
      Math.max(settings.outlierDetectionBaseEjectionTime, settings.outlierDetectionMaxEjectionTime),
    )
    const forget = () => {
      ejections.delete(endpoint)
      if (ejections.size === 0) this.#ejections.delete(id)
    }
    const end = () => {
      ejections.set(endpoint, { times, isOver: true, timer: setTimeout(forget, ms).unref() })
      this.#tell(id)
    }
    ejections.set(endpoint, { times, isOver: false, timer: setTimeout(end, ms).unref() })
    this.#options.onEjection(id)
    this.#options.log.warn(
      { servicePort: id, endpoint, ...seen, ms },
      `an endpoint is ejected: it ${why} than the others`,
    )
    this.#tell(id)
  }

  #tell(id: string): void {
    const endpoints = [...(this.#ejections.get(id) ?? [])].filter(([, { isOver }]) => !isOver)
    this.#options.eject(id, new Set(endpoints.map(([endpoint]) => endpoint)))
  }
}

function endpointsOf(frontends: readonly Frontend[]): number {
  return frontends.reduce((sum, { endpoints }) => sum + endpoints.length, 0)
}

interface LoadOfEndpoint extends Failures {
  readonly endpoint: string
}

/** An endpoint that Envoy did not know before had nothing then. */
function loadsSince({ endpoints }: Frontend, before: EndpointLoads, now: EndpointLoads): readonly LoadOfEndpoint[] {
  return endpoints.map(({ ip, port }) => {
    const endpoint = hostPort(ip, port)
    const [was, is] = [before.get(endpoint), now.get(endpoint)]
    const grown = (key: keyof Failures) => Math.max(0, (is?.[key] ?? 0) - (was?.[key] ?? 0))
    return { endpoint, requests: grown('requests'), errors: grown('errors') }
  })
}

/**
 * Where clients are hashed, all bad requests of one client go to one endpoint. With PEAK_EWMA a failing endpoint gets
 * little anyway, and Envoy could choose none where others are ejected.
 */
function isCompared(frontend: Frontend | undefined, policy: LbPolicy | undefined): boolean {
  return (
    frontend?.layer.wants === 'envoy' &&
    isByRequest(frontend.layer.protocol) &&
    frontend.endpoints.length > 1 &&
    frontend.settings.outlierDetectionFailurePercentage > 0 &&
    policy !== 'PEAK_EWMA' &&
    !hashesClients(frontend.settings)
  )
}
