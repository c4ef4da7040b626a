/**
 * Applies network policies to one node: which of its pods are redirect-exempt, and which connections its kernel
 * prevents.
 */

import { labels } from '../services/labels.ts'
import type { PodsUpdate } from '../services/podchanges.ts'
import { type JudgedPod, type PodIndex, podName } from '../services/podindex.ts'

/** A pod of this node whose connections stay in the kernel layer, whatever the Service. */
export interface RedirectExemptPod {
  /** `namespace/name` */
  readonly pod: string
  readonly addresses: readonly string[]
  /** The policy that selects it, or the label that opts it out. */
  readonly reason: string
}

/** What the kernel enforces, whatever Envoy's configuration: addresses of pods, canonical, of any family. */
export interface PolicyFacts {
  /** Connections from these stay in the kernel layer, and those that they have through Envoy end. */
  readonly clients: readonly string[]
  /** Envoy does not connect to these, and connections that it has to them end. */
  readonly endpoints: readonly string[]
  /**
   * Connections from others, where they may be pods, stay in the kernel layer, too; undefined where nobody is
   * restricted.
   */
  readonly known: readonly string[] | undefined
}

export class NodePolicies {
  readonly #pods: PodIndex
  readonly #nodeName: string | undefined
  #facts: PolicyFacts | undefined

  constructor(pods: PodIndex, nodeName: string | undefined) {
    this.#pods = pods
    this.#nodeName = nodeName
  }

  /** @returns whether the update concerns this node */
  apply({ nodes, policies }: PodsUpdate): boolean {
    const isConcerned = policies || (this.#nodeName !== undefined && nodes.has(this.#nodeName))
    if (isConcerned) this.#facts = undefined
    return isConcerned
  }

  /** Addresses of all pods of this node with addresses of their own. */
  addresses(): readonly string[] {
    return this.#local().flatMap(({ pod }) => pod.addresses)
  }

  /** Pods of this node, in order of their names. */
  clients(): readonly RedirectExemptPod[] {
    return this.#local()
      .flatMap(({ pod, egress }) => {
        const reason = pod.labels[labels.optOut] === 'disabled' ? `label ${labels.optOut}: disabled` : egress
        return reason === undefined ? [] : [{ pod: podName(pod), addresses: pod.addresses, reason }]
      })
      .sort((a, b) => (a.pod < b.pod ? -1 : 1))
  }

  /** The same object as long as nothing in it changes. */
  get facts(): PolicyFacts {
    this.#facts ??= {
      clients: this.clients().flatMap(({ addresses }) => addresses),
      endpoints: this.#guarded(),
      known: this.#pods.restrictsEgress ? this.addresses() : undefined,
    }
    return this.#facts
  }

  #guarded(): readonly string[] {
    const guarded = [...this.#pods.pods()].filter(({ ingress }) => ingress !== undefined)
    return [...new Set(guarded.flatMap(({ pod }) => pod.addresses))]
  }

  #local(): readonly JudgedPod[] {
    return [...this.#pods.pods()].filter(({ pod }) => pod.nodeName === this.#nodeName)
  }
}
