/** Services from the Kubernetes API. */

import type { Log } from '../observe/log.ts'
import { formatProblem, type Problem, problem } from '../services/problem.ts'
import { ApiError, ApiServer } from './api-server.ts'
import { ListWatch, type Resource } from './list-watch.ts'
import type { Source, SourceListener } from './source.ts'

export interface KubernetesOptions {
  /** A kubeconfig file; else KUBECONFIG, ~/.kube/config or the pod's service account. */
  readonly kubeconfig?: string
  /** The own Node, the only one that is watched. */
  readonly nodeName: string
  readonly log: Log
  /** A connection that is silent for longer is replaced; the server says something every minute (bookmarks). */
  readonly quietMs?: number
}

const usualQuietMs = 90_000

/**
 * Lists and watches Services, EndpointSlices, Namespaces, NetworkPolicies, ServiceCIDRs (since Kubernetes 1.33), the own
 * Node and its Pods. While the API cannot be reached or denies access (LP105, origin `kubernetes`), what is known stays, and it is tried again.
 */
export function kubernetesSource(options: KubernetesOptions): Source {
  return new KubernetesSource(options)
}

function resources(nodeName: string): readonly Resource[] {
  return [
    { kind: 'Namespace', apiVersion: 'v1', path: '/api/v1/namespaces' },
    { kind: 'Node', apiVersion: 'v1', path: '/api/v1/nodes', fieldSelector: `metadata.name=${nodeName}` },
    { kind: 'Pod', apiVersion: 'v1', path: '/api/v1/pods', fieldSelector: `spec.nodeName=${nodeName}` },
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

class KubernetesSource implements Source {
  readonly #options: KubernetesOptions
  readonly #api: ApiServer
  readonly #stopping = new AbortController()
  readonly #troubles = new Map<Resource, Problem>()
  #told = ''
  #runs: readonly Promise<void>[] = []

  constructor(options: KubernetesOptions) {
    this.#options = options
    this.#api = new ApiServer(options.kubeconfig, options.quietMs ?? usualQuietMs)
  }

  async start(listener: SourceListener): Promise<void> {
    const all = resources(this.#options.nodeName)
    let left = all.length
    this.#runs = all.map(resource => {
      const run = new ListWatch(this.#api, resource, this.#options.log, {
        changes: changes => listener.changes(changes),
        problems: (object, problems) => listener.problems(`kubernetes ${object}`, problems),
        trouble: error => this.#tell(listener, resource, error),
        synced: () => {
          left--
          if (left === 0) listener.synced()
        },
      })
      return run.run(this.#stopping.signal)
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#runs)
  }

  #tell(listener: SourceListener, resource: Resource, error: Error | undefined): void {
    if (error) this.#troubles.set(resource, troubleOf(this.#api.name, resource, error))
    else this.#troubles.delete(resource)
    // A server that is away is away for every resource: that is one problem.
    const problems = new Map([...this.#troubles.values()].map(trouble => [formatProblem(trouble), trouble]))
    const told = [...problems.keys()].join('\n')
    if (told === this.#told) return
    this.#told = told
    listener.problems('kubernetes', [...problems.values()])
  }
}

function troubleOf(server: string, resource: Resource, error: Error): Problem {
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

/** Node tells of several addresses of one name as of several errors without a message for all. */
function reasonOf(error: Error): string {
  const [first] = error instanceof AggregateError ? (error.errors as readonly Error[]) : []
  return error.message || first?.message || error.name
}
