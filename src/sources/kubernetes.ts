/** Reads Services from the Kubernetes API. */

import { setTimeout } from 'node:timers/promises'
import { everything, inNamespace, ofNode } from '../facts/types.ts'
import type { Log } from '../observe/log.ts'
import type { OtherPolicy } from '../services/objects/networkpolicy.ts'
import { type Change, keyOf } from '../services/objects/objects.ts'
import { formatProblem, type Problem, problem } from '../services/problem.ts'
import { ApiError, ApiServer } from './api-server.ts'
import type { Source, SourceListener } from './source.ts'
import { Backoff } from './watch/backoff.ts'
import { ListWatch, type Resource } from './watch/list-watch.ts'
import { ownPods, type PodWatch, PodWatches } from './watch/pod-watches.ts'
import { policyResources } from './watch/policy-apis.ts'
import { Readiness } from './watch/readiness.ts'

export interface KubernetesOptions {
  /** A kubeconfig file; else KUBECONFIG, ~/.kube/config or the pod's service account. */
  readonly kubeconfig?: string
  /** The node whose Node and Pods are watched; undefined for all Nodes and all Pods. */
  readonly nodeName?: string
  readonly log: Log
  /** A connection that is silent for longer is replaced; the server sends something every minute (bookmarks). */
  readonly quietMs?: number
}

const usualQuietMs = 90_000

/**
 * Lists and watches Services, EndpointSlices, Namespaces, NetworkPolicies and those of network plugins, ServiceCIDRs
 * (since Kubernetes 1.33), the own Node, its Pods and those that are needed, or all of both. While the API cannot be reached or denies
 * access (LP105, origin `kubernetes`), known objects stay, and it is tried again.
 */
export function kubernetesSource(options: KubernetesOptions): Source {
  return new KubernetesSource(options)
}

function resources(nodeName: string | undefined): readonly Resource[] {
  return [
    { kind: 'Namespace', apiVersion: 'v1', path: '/api/v1/namespaces' },
    { kind: 'Node', apiVersion: 'v1', path: '/api/v1/nodes', ...onNode('metadata.name', nodeName) },
    {
      kind: 'NetworkPolicy',
      apiVersion: 'networking.k8s.io/v1',
      path: '/apis/networking.k8s.io/v1/networkpolicies',
    },
    {
      kind: 'ServiceCIDR',
      apiVersion: 'networking.k8s.io/v1',
      path: '/apis/networking.k8s.io/v1/servicecidrs',
      isOptional: true,
    },
    { kind: 'Service', apiVersion: 'v1', path: '/api/v1/services' },
    {
      kind: 'EndpointSlice',
      apiVersion: 'discovery.k8s.io/v1',
      path: '/apis/discovery.k8s.io/v1/endpointslices',
    },
  ]
}

/** How often the API is asked which policies of network plugins there are. */
const discoveryMs = 30_000

class KubernetesSource implements Source {
  readonly #options: KubernetesOptions
  readonly #api: ApiServer
  readonly #readiness: Readiness
  readonly #stopping = new AbortController()
  readonly #troubles = new Map<string, Problem>()
  readonly #pods = new PodWatches({
    start: path => this.#watchPods(path),
    changes: changes => this.#listener!.changes(changes),
  })
  /** The names of resources that have not reported everything yet. */
  readonly #unsynced = new Set<string>()
  readonly #policies = new Set<string>()
  #listener: SourceListener | undefined
  #isSynced = false
  #told = ''
  readonly #runs = new Set<Promise<void>>()

  constructor(options: KubernetesOptions) {
    this.#options = options
    this.#api = new ApiServer(options.kubeconfig, options.quietMs ?? usualQuietMs)
    this.#readiness = new Readiness(signal => this.#api.isReady(signal))
  }

  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener
    const { nodeName } = this.#options
    this.#unsynced.add(discovery.path)
    for (const resource of resources(nodeName)) this.#watch(resource, changes => listener.changes(changes))
    const own = { ...podsAt('/api/v1/pods'), ...onNode('spec.nodeName', nodeName) }
    this.#watch(own, changes => this.#pods.told(ownPods, changes), ownPods)
    this.#runs.add(this.#followPolicies())
  }

  needPods(namespaces: ReadonlySet<string>): void {
    this.#pods.need(namespaces)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#pods.stop()
    await Promise.all(this.#runs)
  }

  /** @param name of the resource, among all that are listed */
  #watch(
    resource: Resource,
    changes: (changes: readonly Change[]) => void,
    name = resource.path,
    stopping = this.#stopping.signal,
  ): void {
    this.#unsynced.add(name)
    const watch = new ListWatch(this.#api, this.#readiness, resource, this.#options.log, {
      changes,
      problems: (object, problems) => this.#listener!.problems(`kubernetes ${object}`, problems),
      progress: version =>
        this.#listener!.progress?.({ kind: resource.kind, scope: resource.scope ?? everything }, version),
      trouble: error => this.#trouble(name, resource, error),
      synced: () => this.#synced(name),
    })
    const run = watch.run(stopping).finally(() => this.#runs.delete(run))
    this.#runs.add(run)
  }

  #watchPods(path: string): PodWatch {
    const stopping = new AbortController()
    const signal = AbortSignal.any([stopping.signal, this.#stopping.signal])
    this.#watch(podsAt(path), changes => this.#pods.told(path, changes), path, signal)
    const isUnsynced = () => this.#unsynced.has(path)
    return {
      get isSynced() {
        return !isUnsynced()
      },
      stop: () => {
        stopping.abort()
        this.#unsynced.delete(path)
        this.#tell(path, undefined)
      },
    }
  }

  #synced(name: string): void {
    this.#unsynced.delete(name)
    this.#pods.settle()
    if (this.#isSynced || this.#unsynced.size > 0) return
    this.#isSynced = true
    this.#listener!.synced()
  }

  async #followPolicies(): Promise<void> {
    const { signal } = this.#stopping
    const backoff = new Backoff()
    while (!signal.aborted) {
      try {
        for (const resource of await policyResources(this.#api, signal)) {
          if (this.#policies.has(resource.path)) continue
          this.#policies.add(resource.path)
          this.#watch(resource, changes => this.#listener!.changes(changes))
        }
        backoff.reset()
        this.#tell(discovery.path, undefined)
        this.#synced(discovery.path)
        await setTimeout(discoveryMs, undefined, { signal }).catch(() => {})
      } catch (error) {
        if (signal.aborted) return
        this.#tell(discovery.path, troubleOf(this.#api.name, discovery, error as Error))
        if (await this.#readiness.pause(backoff.next(), signal)) backoff.reset()
      }
    }
  }

  #trouble(name: string, resource: Resource, error: Error | undefined): void {
    if (this.#policies.has(name)) this.#tellUnreadable(resource, error)
    this.#tell(name, error && troubleOf(this.#api.name, resource, error))
  }

  /** Policies that may not be read may select any pod. */
  #tellUnreadable({ kind }: Resource, error: Error | undefined): void {
    const policy = unreadablePolicy(kind)
    if (error === undefined) this.#listener!.changes([{ type: 'remove', key: keyOf(policy) }])
    else if (error instanceof ApiError && error.code === 403) this.#listener!.changes([{ type: 'put', object: policy }])
  }

  #tell(name: string, trouble: Problem | undefined): void {
    if (trouble) this.#troubles.set(name, trouble)
    else this.#troubles.delete(name)
    // A server that is away is away for every resource: that is one problem.
    const problems = new Map([...this.#troubles.values()].map(trouble => [formatProblem(trouble), trouble]))
    const told = [...problems.keys()].join('\n')
    if (told === this.#told) return
    this.#told = told
    this.#listener!.problems('kubernetes', [...problems.values()])
  }
}

/** The resource of discovery, for messages. */
const discovery = { apiVersion: 'v1', path: '/apis' }

function podsAt(path: string): Resource {
  const [, namespace] = /namespaces\/([^/]+)\/pods$/.exec(path) ?? []
  return { kind: 'Pod', apiVersion: 'v1', path, scope: namespace === undefined ? everything : inNamespace(namespace) }
}

function onNode(field: string, name: string | undefined): Pick<Resource, 'fieldSelector' | 'scope'> {
  return name === undefined ? {} : { fieldSelector: `${field}=${name}`, scope: ofNode(name) }
}

function unreadablePolicy(kind: Resource['kind']): OtherPolicy {
  return { kind: kind as OtherPolicy['kind'], namespace: '', name: '(unreadable)', restricts: ['ingress', 'egress'] }
}

function troubleOf(server: string, resource: Pick<Resource, 'apiVersion' | 'path'>, error: Error): Problem {
  const plural = resource.path.slice(resource.path.lastIndexOf('/') + 1)
  const group = resource.apiVersion.includes('/') ? ` of ${resource.apiVersion.split('/')[0]}` : ''
  const stays = 'what is known stays, and it is tried again'
  const code = error instanceof ApiError ? error.code : undefined
  if (code === 401) {
    return problem(
      'LP105',
      server,
      `credentials refused (401): ${error.message}`,
      `${stays}; renew token or certificate`,
    )
  }
  if (code === 403) {
    const remedy = `${stays}; grant list and watch on ${plural}${group} in a ClusterRole`
    return problem('LP105', server, `access denied (403): ${error.message}`, remedy)
  }
  if (code !== undefined) {
    return problem('LP105', server, `answered ${code} for ${plural}: ${error.message}`, stays)
  }
  return problem(
    'LP105',
    server,
    `not reachable: ${reasonOf(error)}`,
    `${stays}; check address, network and kubeconfig`,
  )
}

/** Node reports several addresses of one name as several errors without a message for all. */
function reasonOf(error: Error): string {
  const [first] = error instanceof AggregateError ? (error.errors as readonly Error[]) : []
  return error.message || first?.message || error.name
}
