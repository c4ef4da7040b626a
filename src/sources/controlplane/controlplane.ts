/**
 * Reads the facts of the cluster from a control plane, which watches the Kubernetes API once for many nodes. Where no
 * replica answers for a while, the agent watches the API server itself until one does.
 */

import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Told } from '../../facts/told.ts'
import { everything, type FactType, factTypes, inNamespace, nameOf, ofNode, typeOf } from '../../facts/types.ts'
import { versionOf } from '../../facts/versions.ts'
import type { Log } from '../../observe/log.ts'
import { type Change, keyOf } from '../../services/objects/objects.ts'
import { problem } from '../../services/problem.ts'
import type { Source, SourceListener } from '../source.ts'
import { Backoff } from '../watch/backoff.ts'
import { mostNamespaces } from '../watch/pod-watches.ts'
import { type HostPort, type Replica, replicasOf } from './addresses.ts'
import { MergedFacts, type Scopes } from './mergedfacts.ts'
import { FactsStream, type Security } from './stream.ts'

/** Both are read for each stream, since they are replaced now and then. */
export interface SecurityFiles {
  /** Certificates (PEM) of whom has to have signed the control plane's. */
  readonly authority: string
  /** A token for the audience lightpath-controlplane, bound to a pod of this node. */
  readonly token: string
}

export interface ControlPlaneOptions {
  readonly controlPlanes: readonly HostPort[]
  /** Files; undefined for streams without TLS, which go to this host alone. */
  readonly security?: SecurityFiles
  readonly nodeName: string
  /** Makes the source that watches the API server for this node. */
  readonly direct: () => Source
  /** The agent goes to the API server after so long without a control plane, and as long again at random. */
  readonly patienceMs: number
  readonly log: Log
}

/** Problems of reaching control planes (LP106) have the origin `control plane`. */
export function controlPlaneSource(options: ControlPlaneOptions): Source {
  return new ControlPlaneSource(options)
}

const origin = 'control plane'
/** Agents whose stream ends at the same moment come back within this time. */
const spreadMs = 1000
/** A stream that lasted for so long went well, whatever ended it. */
const steadyMs = 5000

class ControlPlaneSource implements Source {
  readonly #options: ControlPlaneOptions
  readonly #merged = new MergedFacts()
  readonly #stopping = new AbortController()
  readonly #ending = new Set<Promise<void>>()
  readonly #directOrigins = new Set<string>()
  #listener: SourceListener | undefined
  #podScopes: readonly string[]
  #following: Promise<void> | undefined
  /** The one that is read: a stream that was accepted, or the API server. */
  #stream: FactsStream | undefined
  #direct: Source | undefined
  /** The stream has told everything once. Until then it does not count as one. */
  #isServed = false
  #patience: NodeJS.Timeout | undefined
  #namespaces: ReadonlySet<string> = new Set()
  #isSynced = false

  constructor(options: ControlPlaneOptions) {
    this.#options = options
    this.#podScopes = [ofNode(options.nodeName)]
  }

  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener
    this.#losePatience()
    this.#following = this.#follow()
  }

  needPods(namespaces: ReadonlySet<string>): void {
    this.#namespaces = namespaces
    const isAll = namespaces.size > mostNamespaces || this.#podScopes.includes(everything)
    this.#podScopes = isAll ? [everything] : [ofNode(this.#options.nodeName), ...[...namespaces].map(inNamespace)]
    this.#direct?.needPods?.(namespaces)
    const added = this.#podScopes.filter(scope => this.#merged.widen('Pod', scope))
    // A scope that is not needed any more stays until the stream ends.
    if (added.length > 0) this.#stream?.subscribe('Pod', added, {})
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    clearTimeout(this.#patience)
    this.#stream?.close()
    this.#endDirect()
    await this.#following
    await Promise.all(this.#ending)
  }

  /** Reads one replica after another, without end. */
  async #follow(): Promise<void> {
    const { signal } = this.#stopping
    const backoff = new Backoff()
    while (!signal.aborted) {
      const reasons = new Set<string>()
      let wasServed = false
      try {
        const { controlPlanes, security: files } = this.#options
        for (const replica of await replicasOf(controlPlanes, files !== undefined)) {
          const began = performance.now()
          const ended = await this.#read(replica, await readSecurity(files), signal)
          if (signal.aborted) return
          const level = ended.wasServed ? 'info' : 'debug'
          this.#options.log[level](
            { controlPlane: replica.address, reason: ended.reason },
            'no stream to the control plane',
          )
          if (performance.now() - began >= steadyMs) backoff.reset()
          reasons.add(ended.reason)
          wasServed = ended.wasServed
          if (wasServed) break
        }
      } catch (error) {
        reasons.add((error as Error).message)
      }
      if (!wasServed) this.#tellUnreachable([...reasons].sort().slice(0, 3).join('; '))
      const pauseMs = wasServed && backoff.failures === 0 ? Math.random() * spreadMs : backoff.next()
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Resolves when the stream has ended. */
  #read(
    replica: Replica,
    security: Security | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly wasServed: boolean; readonly reason: string }> {
    const { nodeName, log } = this.#options
    return new Promise(resolve => {
      const close = () => stream.close()
      signal.addEventListener('abort', close)
      const stream: FactsStream = new FactsStream(replica, security, nodeName, {
        accepted: () => {
          log.info({ controlPlane: replica.address }, 'facts come from the control plane')
          this.#begin(stream)
        },
        told: told => {
          for (const { name, reason } of told.unreadable) {
            log.warn(
              { controlPlane: replica.address, type: told.type, name, reason },
              'a fact cannot be read; what was known stays',
            )
          }
          this.#take(told)
        },
        ended: reason => {
          signal.removeEventListener('abort', close)
          const wasServed = this.#stream === stream && this.#isServed
          if (this.#stream === stream) this.#stream = undefined
          if (wasServed) this.#losePatience()
          resolve({ wasServed, reason })
        },
      })
    })
  }

  #begin(stream: FactsStream): void {
    if (this.#direct) this.#losePatience()
    this.#endDirect()
    this.#stream = stream
    this.#isServed = false
    const scopes = this.#scopes()
    this.#merged.begin(scopes, 'differences')
    for (const [type, ofType] of scopes) stream.subscribe(type, [...ofType], this.#merged.versions(type))
    this.#tell()
  }

  #take({ type, put, removed, complete }: Told): void {
    for (const { name, version, object } of put) this.#merged.put(type, name, version, object)
    for (const name of removed) this.#merged.remove(type, name)
    for (const { scope, version } of complete) this.#merged.complete(type, scope, version)
    if (!this.#isServed && this.#merged.unread().length === 0) {
      this.#isServed = true
      clearTimeout(this.#patience)
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

  #beginDirect(): void {
    const { direct, log } = this.#options
    this.#stream?.close()
    log.warn({}, 'no control plane answers; facts come from the API server')
    this.#merged.begin(this.#scopes(), 'all')
    const source = direct()
    this.#direct = source
    const whileRead = (act: () => void) => {
      if (this.#direct !== source) return
      act()
      this.#tell()
    }
    source.start({
      changes: changes => whileRead(() => this.#takeDirect(changes)),
      progress: ({ kind, scope }, version) => {
        const type = typeOf(kind)
        // Kinds of policies are listed each by itself, so none of them says that all are known.
        if (type !== 'OtherPolicy') whileRead(() => this.#merged.complete(type, scope, versionOf(type, version)))
      },
      synced: () =>
        whileRead(() => {
          for (const { type, scope } of this.#merged.unread()) this.#merged.complete(type, scope, '')
        }),
      problems: (from, problems) =>
        whileRead(() => {
          this.#directOrigins.add(from)
          this.#listener!.problems(from, problems)
        }),
    })
    source.needPods?.(this.#namespaces)
    this.#tell()
  }

  #takeDirect(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      const type = typeOf(key.kind)
      if (change.type === 'remove') this.#merged.remove(type, nameOf(key))
      else this.#merged.put(type, nameOf(key), versionOf(type, change.version), change.object)
    }
  }

  #endDirect(): void {
    const source = this.#direct
    if (!source) return
    this.#direct = undefined
    const ending = source.stop().finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
    for (const from of this.#directOrigins) this.#listener!.problems(from, [])
    this.#directOrigins.clear()
  }

  #scopes(): Scopes {
    const { nodeName } = this.#options
    const scopes = new Map<FactType, ReadonlySet<string>>(factTypes.map(type => [type, new Set([everything])]))
    return scopes.set('Node', new Set([ofNode(nodeName)])).set('Pod', new Set(this.#podScopes))
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
    const seconds = Math.round(this.#options.patienceMs / 1000)
    const remedy = `what is known stays, and after ${seconds} to ${2 * seconds} s the agent watches the API server itself; it is tried again`
    this.#listener!.problems(origin, [problem('LP106', origin, `no replica answers: ${reason}`, remedy)])
  }
}

async function readSecurity(files: SecurityFiles | undefined): Promise<Security | undefined> {
  if (!files) return undefined
  const [authority, token] = await Promise.all([files.authority, files.token].map(file => readFile(file, 'utf8')))
  return { authority: authority!, token: token!.trim() }
}
