/**
 * Pods of this node whose connections stay in the kernel layer whatever the Service: those that a NetworkPolicy restricts
 * in their egress, since the policy would see the VIP and Envoy in place of the endpoint; and those that opted out.
 */

import { labels } from './layer.ts'
import { type NetworkPolicy, type Pod, selects } from './networkpolicy.ts'
import { type Change, describeKey, keyOf } from './objects.ts'

export interface KernelClient {
  /** `namespace/name` */
  readonly pod: string
  readonly addresses: readonly string[]
  /** The policy that selects it, or the label that keeps it below. */
  readonly reason: string
}

export class KernelClients {
  readonly #nodeName: string
  readonly #policies = new Map<string, NetworkPolicy>()
  readonly #pods = new Map<string, Pod>()

  constructor(nodeName: string) {
    this.#nodeName = nodeName
  }

  /** Whether any of the changes was about pods or policies. */
  apply(changes: readonly Change[]): boolean {
    let touched = false
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      if (key.kind !== 'NetworkPolicy' && key.kind !== 'Pod') continue
      touched = true
      const id = describeKey(key)
      this.#policies.delete(id)
      this.#pods.delete(id)
      if (change.type === 'remove') continue
      if (change.object.kind === 'NetworkPolicy') this.#policies.set(id, change.object)
      if (change.object.kind === 'Pod' && change.object.nodeName === this.#nodeName) this.#pods.set(id, change.object)
    }
    return touched
  }

  /** Addresses of all pods of this node with addresses of their own. */
  addresses(): readonly string[] {
    return [...this.#pods.values()].flatMap(({ addresses }) => addresses)
  }

  /** In order of pods. */
  clients(): readonly KernelClient[] {
    return [...this.#pods.values()]
      .flatMap(pod => {
        const reason = this.#reason(pod)
        return reason === undefined ? [] : [{ pod: `${pod.namespace}/${pod.name}`, addresses: pod.addresses, reason }]
      })
      .sort((a, b) => (a.pod < b.pod ? -1 : 1))
  }

  #reason(pod: Pod): string | undefined {
    if (pod.labels[labels.optOut] === 'disabled') return `label ${labels.optOut}: disabled`
    for (const policy of this.#policies.values()) {
      if (policy.namespace === pod.namespace && selects(policy.podSelector, pod.labels)) {
        return `NetworkPolicy ${policy.namespace}/${policy.name}`
      }
    }
    return undefined
  }
}
