/**
 * Reads the facts of the cluster from a control plane, which watches the Kubernetes API once for many nodes. Where no
 * replica serves it for a while, the agent watches the API server itself until one has told everything.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Sight } from '../../facts/failures.ts'
import type { Told } from '../../facts/told.ts'
import { everything, type FactType, factTypes, inNamespace, ofNode } from '../../facts/types.ts'
import type { Log } from '../../observe/log.ts'
import type { Source, SourceListener } from '../source.ts'
import { Backoff } from '../watch/backoff.ts'
import { mostNamespaces } from '../watch/pod-watches.ts'
import { DirectReader } from './directreader.ts'
import { Voices } from './failures/voices.ts'
import { MergedFacts, type Scopes } from './mergedfacts.ts'
import { pauseMs } from './pause.ts'
import { type CutOffSince, cutOff, unreachable } from './problems.ts'
import type { FindReplicas, Known, Replica } from './replicas/addresses.ts'
import { FresherReplica } from './replicas/fresherreplica.ts'
import { readSecurity, type Security, type SecurityFiles } from './security.ts'
import { StagedFacts } from './stagedfacts.ts'
import { FactsStream, type StreamListener } from './stream.ts'

export interface ControlPlaneOptions {
  readonly findReplicas: FindReplicas
  /** Files; undefined for streams without TLS, which go to this host alone. */
  readonly security?: SecurityFiles
  readonly nodeName: string
  /** Makes the source that watches the API server for this node. */
  readonly direct: () => Source
  /**
   * The agent goes to the API server after so long without a control plane, and as long again at random. A stream that
   * tells nothing for so long, before it has told everything, is ended.
   */
  readonly patienceMs: number
  /** How often other replicas are looked for: while the one that serves is cut off (30 s), and to tell them, too (10 s). */
  readonly searchMs?: number
  /** Whether this node tells and hears which endpoints are dead (controlplane/failures/). Default: no. */
  readonly exchangesFailures?: boolean
  readonly log: Log
}

/** Problems of reaching control planes (LP106) have the origin `control plane`, those of their age (LP107) `age of the facts`. */
export function controlPlaneSource(options: ControlPlaneOptions): Source {
  return new ControlPlaneSource(options)
}

const origin = 'control plane'
const ageOrigin = 'age of the facts'
const usualSearchMs = 30_000
const usualVoicesMs = 10_000

/** A stream that was accepted. */
interface Reading {
  readonly replica: Replica
  readonly stream: FactsStream
  /** What it has told; undefined once that is everything, and the stream is the reader of what is merged. */
  staged: StagedFacts | undefined
  /** When it had told everything, by performance.now(). */
  servedAt?: number
}

interface Ended {
  readonly reason: string
  /** How long the stream served after it had told everything; undefined where it never had. */
  readonly servedMs: number | undefined
}

class ControlPlaneSource implements Source {
  readonly #options: ControlPlaneOptions
  readonly #merged = new MergedFacts()
  readonly #stopping = new AbortController()
  readonly #ending = new Set<Promise<void>>()
  readonly #fresher: FresherReplica
  #listener: SourceListener | undefined
  #voices: Voices | undefined
  #following: Promise<void> | undefined
  #stream: FactsStream | undefined
  #reading: Reading | undefined
  /** Reads the API server, until a stream has told everything. */
  #direct: DirectReader | undefined
  #patience: NodeJS.Timeout | undefined
  #namespaces: ReadonlySet<string> = new Set()
  #isSynced = false

  constructor(options: ControlPlaneOptions) {
    this.#options = options
    const { findReplicas, searchMs: everyMs = usualSearchMs } = options
    this.#fresher = new FresherReplica({
      find: () => findReplicas({ ...this.#known(), hasFailed: true }),
      open: (replica, listener) => this.#open(replica, listener),
      cutOff: since => this.#tellCutOff(since),
      everyMs,
    })
  }

  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener
    const { exchangesFailures = false, nodeName, findReplicas, searchMs: everyMs = usualVoicesMs } = this.#options
    if (exchangesFailures) {
      this.#voices = new Voices({
        ...{ nodeName, listener, everyMs },
        find: () => findReplicas({ ...this.#known(), hasFailed: false }),
        open: (replica, heard) => this.#open(replica, heard),
      })
    }
    this.#losePatience()
    this.#following = this.#follow()
  }

  needPods(namespaces: ReadonlySet<string>): void {
    // The caller's set changes.
    this.#namespaces = new Set(namespaces)
    this.#direct?.needPods(this.#namespaces)
    const widen = (facts: MergedFacts | StagedFacts) =>
      this.#podScopes(facts.hasAll('Pod')).filter(scope => facts.widen('Pod', scope))
    const merged = widen(this.#merged)
    if (!this.#reading) return
    const { stream, staged } = this.#reading
    const added = staged ? widen(staged) : merged
    // A scope that is not needed any more stays until the stream ends.
    if (added.length > 0) stream.subscribe('Pod', added, {})
  }

  report(sights: readonly Sight[]): void {
    this.#voices?.report(sights)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#voices?.stop()
    clearTimeout(this.#patience)
    this.#stream?.close('the agent stops')
    this.#endDirect()
    await this.#following
    await Promise.all([...this.#ending, this.#fresher.stop()])
  }

  /** Reads one replica after another, without end. */
  async #follow(): Promise<void> {
    const { signal } = this.#stopping
    const { findReplicas, security: files, log } = this.#options
    const backoff = new Backoff()
    let hasFailed = false
    while (!signal.aborted) {
      const reasons = new Set<string>()
      let servedMs: number | undefined
      try {
        const found = await findReplicas({ ...this.#known(), hasFailed })
        for (const replica of this.#fresher.ordered(this.#voices?.livingFirst(found) ?? found)) {
          const security = await readSecurity(files)
          if (signal.aborted) return
          const ended = await this.#read(replica, security)
          if (signal.aborted) return
          servedMs = ended.servedMs
          const level = servedMs === undefined ? 'debug' : 'info'
          log[level]({ controlPlane: replica.address, reason: ended.reason }, 'no stream to the control plane')
          reasons.add(ended.reason)
          if (servedMs !== undefined) break
        }
      } catch (error) {
        reasons.add((error as Error).message)
      }
      hasFailed = servedMs === undefined
      if (hasFailed) this.#tellUnreachable([...reasons].sort().slice(0, 3).join('; '))
      await sleep(pauseMs(servedMs, backoff), undefined, { signal }).catch(() => undefined)
    }
  }

  async #open(replica: Replica, listener: StreamListener): Promise<FactsStream> {
    const { security: files, nodeName } = this.#options
    return new FactsStream(replica, await readSecurity(files), nodeName, listener)
  }

  #known(): Pick<Known, 'objects' | 'isCurrent'> {
    const held = (['EndpointSlice', 'Node'] as const).flatMap(type => [...this.#merged.held(type).values()])
    const isCurrent = this.#direct !== undefined && this.#merged.unread().length === 0
    return { objects: held.map(({ object }) => object), isCurrent }
  }

  /** Resolves when the stream has ended. */
  #read(replica: Replica, security: Security | undefined): Promise<Ended> {
    const { nodeName, patienceMs } = this.#options
    return new Promise(resolve => {
      let reading: Reading | undefined
      let silence: NodeJS.Timeout | undefined
      const stream: FactsStream = new FactsStream(replica, security, nodeName, {
        accepted: () => {
          silence = setTimeout(() => stream.close(`it told nothing for ${patienceMs / 1000} s`), patienceMs)
          reading = this.#begin(replica, stream)
        },
        told: told => {
          if (reading?.staged) silence?.refresh()
          this.#take(reading!, told)
          if (!reading?.staged) clearTimeout(silence)
        },
        fresh: freshness =>
          this.#fresher.heard(replica, freshness, () => stream.close('another replica can read the API server')),
        ended: reason => {
          clearTimeout(silence)
          this.#fresher.ended()
          this.#stream = undefined
          this.#reading = undefined
          const servedAt = reading?.servedAt
          if (servedAt !== undefined) this.#losePatience()
          resolve({ reason, servedMs: servedAt === undefined ? undefined : performance.now() - servedAt })
        },
      })
      this.#stream = stream
    })
  }

  #begin(replica: Replica, stream: FactsStream): Reading {
    const scopes = this.#scopes()
    const staged = new StagedFacts(scopes, this.#merged)
    for (const [type, ofType] of scopes) stream.subscribe(type, [...ofType], staged.versions(type))
    this.#reading = { replica, stream, staged }
    return this.#reading
  }

  #take(reading: Reading, told: Told): void {
    const { replica, staged } = reading
    for (const { name, reason } of told.unreadable) {
      this.#options.log.warn(
        { controlPlane: replica.address, type: told.type, name, reason },
        'a fact cannot be read; what was known stays',
      )
    }
    if (!staged) this.#merged.take(told)
    else {
      staged.take(told)
      if (!staged.isComplete) return
      reading.staged = undefined
      reading.servedAt = performance.now()
      clearTimeout(this.#patience)
      this.#endDirect()
      staged.mergeInto(this.#merged)
      this.#voices?.begin(replica, reading.stream)
      this.#options.log.info({ controlPlane: replica.address }, 'facts come from the control plane')
      this.#listener!.problems(origin, [])
    }
    this.#tell()
  }

  /** Goes to the API server after a while. */
  #losePatience(): void {
    if (this.#stopping.signal.aborted) return
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => this.#beginDirect(), this.#options.patienceMs * (1 + Math.random()))
  }

  /** A control plane is tried meanwhile, and may be telling what it has. */
  #beginDirect(): void {
    const { direct, log } = this.#options
    log.warn({}, 'no control plane serves this agent; facts come from the API server')
    this.#merged.begin(this.#scopes())
    this.#direct = new DirectReader(direct(), this.#merged, {
      merged: () => this.#tell(),
      problems: (from, problems) => this.#listener!.problems(from, problems),
    })
    this.#direct.needPods(this.#namespaces)
    this.#tell()
  }

  #endDirect(): void {
    const ending = this.#direct?.stop().finally(() => this.#ending.delete(ending!))
    if (ending) this.#ending.add(ending)
    this.#direct = undefined
  }

  #scopes(): Scopes {
    const scopes = new Map<FactType, ReadonlySet<string>>(factTypes.map(type => [type, new Set([everything])]))
    return scopes.set('Node', new Set([ofNode(this.#options.nodeName)])).set('Pod', new Set(this.#podScopes(false)))
  }

  /** @param hasAll a reader that has all Pods goes on with all, as a watch of the API server does (PodWatches) */
  #podScopes(hasAll: boolean): readonly string[] {
    if (hasAll || this.#namespaces.size > mostNamespaces) return [everything]
    return [ofNode(this.#options.nodeName), ...[...this.#namespaces].map(inNamespace)]
  }

  #tell(): void {
    const changes = this.#merged.takeChanges()
    if (changes.length > 0) this.#listener!.changes(changes)
    // What is told may need more Pods.
    if (this.#isSynced || !this.#merged.isComplete) return
    this.#isSynced = true
    this.#listener!.synced()
  }

  #tellUnreachable(reason: string): void {
    this.#listener!.problems(origin, [unreachable(origin, reason, this.#options.patienceMs)])
  }

  #tellCutOff(since: CutOffSince | undefined): void {
    this.#listener!.problems(ageOrigin, since ? [cutOff(origin, since)] : [])
  }
}
