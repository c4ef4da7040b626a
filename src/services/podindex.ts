/**
 * Indexes the pods of the cluster, the policies that select them, and which endpoints Envoy may connect to. Envoy's
 * packets leave by the node's own output, where network plugins do not look: they enforce what is forwarded, or what
 * passes a pod's interface, and let the host speak to its pods. And a policy for egress would see the VIP and Envoy in
 * place of the endpoint. So a pod that a policy selects stays in the kernel layer: as an endpoint (`whyBarred`) on
 * every node, as a client on its own (plan/policies.ts).
 */

import { familyOf } from '../net/address.ts'
import { contains, familyOfCidr } from '../net/cidr.ts'
import { specialPlace } from '../net/special.ts'
import { compareText } from '../text/compare.ts'
import { sharedText } from '../text/raw.ts'
import type { NodeIndex } from './nodeindex.ts'
import { type Direction, type Pod, type Policy, selects } from './objects/networkpolicy.ts'
import { describeKey, type ObjectKey } from './objects/objects.ts'
import type { PodChanges } from './podchanges.ts'

export interface PodKnowledge {
  /**
   * Whether the source reports all Pods, as the Kubernetes API does. Else all of a namespace count as reported where
   * one is, and of other namespaces nothing is known but what slices say.
   */
  readonly tellsPods: boolean
  /** The ranges of pods' addresses, canonical; empty where they are not known. */
  readonly podRanges: readonly string[]
}

/** Why Envoy may not connect to an endpoint. */
export interface Barred {
  /** In words for its owner. */
  readonly why: string
  /**
   * Its pod, which goes on, has another address now, and its slice does not have that yet: as after a node's restart.
   */
  readonly isLeft: boolean
}

/** A pod, and the policies that select it. */
export interface JudgedPod {
  readonly pod: Pod
  /** The addresses that it had until they changed last. */
  readonly left: readonly string[]
  /** The policy that selects it, by direction. */
  readonly ingress: string | undefined
  readonly egress: string | undefined
}

const nobody: ReadonlyMap<string, JudgedPod> = new Map()
const none: readonly string[] = []

export class PodIndex {
  readonly #knowledge: PodKnowledge
  readonly #nodes: NodeIndex
  /** By namespace, '' for those of the cluster, and description. */
  readonly #policies = new Map<string, Map<string, Policy>>()
  /** By namespace and name. */
  readonly #pods = new Map<string, Map<string, JudgedPod>>()
  /** By name, so that answers do not depend on who came first. More than one where an address goes from pod to pod. */
  readonly #byAddress = new Map<string, readonly Pod[]>()
  /** Those that changed since pods were judged by them, by namespace and description. */
  readonly #changed = new Map<string, Map<string, Policy | undefined>>()
  /** Addresses that pods left which go on, by namespace and address. */
  readonly #left = new Set<string>()

  constructor(knowledge: PodKnowledge, nodes: NodeIndex) {
    this.#knowledge = knowledge
    this.#nodes = nodes
  }

  *pods(): Iterable<JudgedPod> {
    for (const pods of this.#pods.values()) yield* pods.values()
  }

  /** Whether some policy says where pods may connect to. */
  get restrictsEgress(): boolean {
    return [...this.#policies.values()].some(policies =>
      [...policies.values()].some(({ restricts }) => restricts.includes('egress')),
    )
  }

  /**
   * Says why Envoy may not connect to an endpoint of a Service; undefined where it may.
   * @param isPod what the endpoint's slice says; see `EndpointTraits`
   */
  whyBarred(namespace: string, ip: string, isPod: boolean): Barred | undefined {
    const why = this.#whyNot(namespace, ip, isPod)
    if (why === undefined) return undefined
    const isTaken =
      this.#nodes.hasAddress(ip) || (this.#byAddress.get(ip) ?? []).some(pod => pod.namespace === namespace)
    // Where no pod is known there is one for each of 100,000 endpoints.
    return { why: sharedText(why), isLeft: isPod && !isTaken && this.#left.has(placeOf(namespace, ip)) }
  }

  #whyNot(namespace: string, ip: string, isPod: boolean): string | undefined {
    if (this.#nodes.hasAddress(ip)) return 'it is the address of a node'
    const pods = this.#pods.get(namespace)
    if (!this.#knowledge.tellsPods && !pods) return this.#whyDoubtful(namespace, ip, isPod)
    if (!isPod) return `its slice does not name a Pod of namespace ${namespace} as its target`
    const there = this.#byAddress.get(ip) ?? []
    if (there.length === 0) return `no known pod of namespace ${namespace} has that address`
    const other = there.find(pod => pod.namespace !== namespace)
    if (other) return `a pod of namespace ${other.namespace} has that address`
    for (const pod of there) {
      const policy = pods?.get(pod.name)?.ingress
      if (policy !== undefined) return `${policy} selects its pod ${podName(pod)}`
    }
    return undefined
  }

  /**
   * Decides where no pods are reported: by what the slice says, or by an address that is a pod's, and any policy may
   * select it.
   */
  #whyDoubtful(namespace: string, ip: string, isPod: boolean): string | undefined {
    const ranges = this.#knowledge.podRanges.filter(range => familyOfCidr(range) === familyOf(ip))
    const isInRange = [...ranges, ...this.#nodes.podCidrs()].some(range => contains(range, ip))
    const special = specialPlace(ip)
    if (!isInRange && special !== undefined) return `it is ${special}`
    if (!isInRange && ranges.length > 0) return `it is outside the pods' addresses (${ranges.join(', ')})`
    if (!isInRange && !isPod) return `its slice does not name a Pod of namespace ${namespace} as its target`
    const policy = this.#find(namespace, 'ingress', () => true)
    return policy && `${policy} may select its pod`
  }

  setPod(namespace: string, name: string, pod: Pod | undefined, changes: PodChanges): void {
    const before = this.#pods.get(namespace)?.get(name)
    const after = pod && this.#judge(pod, before ? leftBy(before, pod) : none)
    if (before?.left !== after?.left) {
      for (const ip of before?.left ?? []) {
        this.#left.delete(placeOf(namespace, ip))
        changes.rejudge(namespace, ip)
      }
      for (const ip of after?.left ?? []) this.#left.add(placeOf(namespace, ip))
    }
    for (const one of [before, after]) if (one) changes.addPod(one.pod.nodeName, one.ingress !== undefined)
    for (const ip of new Set([...(before?.pod.addresses ?? []), ...(pod?.addresses ?? [])])) {
      const others = (this.#byAddress.get(ip) ?? []).filter(other => other !== before?.pod)
      const now = pod?.addresses.includes(ip) ? [...others, pod].sort(byName) : others
      if (now.length > 0) this.#byAddress.set(ip, now)
      else this.#byAddress.delete(ip)
      const isSame = before?.pod.addresses.includes(ip) === pod?.addresses.includes(ip)
      if (!isSame || before?.ingress !== after?.ingress) {
        for (const owner of new Set([namespace, ...others.map(other => other.namespace)])) changes.rejudge(owner, ip)
      }
    }
    const pods = this.#pods.get(namespace) ?? new Map<string, JudgedPod>()
    // The first or last pod of a namespace in a directory changes how all its other endpoints are judged.
    if (!this.#knowledge.tellsPods && pods.size === 0) changes.rejudge(namespace, 'all')
    if (after) pods.set(name, after)
    else pods.delete(name)
    if (pods.size > 0) this.#pods.set(namespace, pods)
    else this.#pods.delete(namespace)
    if (!this.#knowledge.tellsPods && pods.size === 0) changes.rejudge(namespace, 'all')
  }

  /** Pods are judged by it once `judgePods` is called: many policies may come together. */
  setPolicy(key: ObjectKey, policy: Policy | undefined, changes: PodChanges): void {
    const { namespace } = key
    const id = describeKey(key)
    changes.addPolicy()
    const policies = this.#policies.get(namespace) ?? new Map<string, Policy>()
    if (policy) policies.set(id, policy)
    else policies.delete(id)
    if (policies.size > 0) this.#policies.set(namespace, policies)
    else this.#policies.delete(namespace)
    if (!this.#knowledge.tellsPods) changes.rejudge(namespace, 'all')
    const changed = this.#changed.get(namespace)
    if (changed) changed.set(id, policy)
    else this.#changed.set(namespace, new Map([[id, policy]]))
  }

  /** Judges pods by the policies that were set since it was called last. */
  judgePods(changes: PodChanges): void {
    for (const [namespace, changed] of this.#changed) {
      for (const one of namespace === '' ? this.#pods.keys() : [namespace]) {
        const pods = this.#pods.get(one)
        for (const [name, before] of pods ?? nobody) {
          const after = this.#judgeBy(changed, before)
          if (after === before) continue
          pods!.set(name, after)
          if (after.ingress !== before.ingress) for (const ip of before.pod.addresses) changes.rejudge(one, ip)
        }
      }
    }
    this.#changed.clear()
  }

  /** Asks the other policies only where the one that was named is among those that changed. */
  #judgeBy(changed: ReadonlyMap<string, Policy | undefined>, before: JudgedPod): JudgedPod {
    const { pod, left } = before
    const named = [before.ingress, before.egress]
    if (named.some(id => id !== undefined && changed.has(id))) return this.#judge(pod, left)
    let { ingress, egress } = before
    for (const [id, policy] of changed) {
      const isFirst = (known: string | undefined) => known === undefined || id < known
      if (!policy || !(isFirst(ingress) || isFirst(egress)) || !mayBeSelected(policy, pod)) continue
      if (policy.restricts.includes('ingress') && isFirst(ingress)) ingress = id
      if (policy.restricts.includes('egress') && isFirst(egress)) egress = id
    }
    const isSame = ingress === before.ingress && egress === before.egress
    return isSame ? before : { pod, left, ingress, egress }
  }

  #judge(pod: Pod, left: readonly string[]): JudgedPod {
    const of = (direction: Direction) => this.#find(pod.namespace, direction, policy => mayBeSelected(policy, pod))
    return { pod, left, ingress: of('ingress'), egress: of('egress') }
  }

  /** Finds the first policy by name, so that the answer does not depend on which came first. */
  #find(namespace: string, direction: Direction, concerns: (policy: Policy) => boolean): string | undefined {
    let found: string | undefined
    for (const scope of [namespace, '']) {
      for (const [id, policy] of this.#policies.get(scope) ?? []) {
        if ((found === undefined || id < found) && policy.restricts.includes(direction) && concerns(policy)) found = id
      }
    }
    return found
  }
}

function mayBeSelected(policy: Policy, pod: Pod): boolean {
  return policy.kind !== 'NetworkPolicy' || selects(policy.podSelector, pod.labels)
}

function leftBy({ pod: before, left }: JudgedPod, pod: Pod): readonly string[] {
  const given = before.addresses.filter(ip => !pod.addresses.includes(ip))
  return given.length > 0 ? given : left
}

function placeOf(namespace: string, ip: string): string {
  return `${namespace} ${ip}`
}

/** `namespace/name` */
export function podName({ namespace, name }: Pod): string {
  return `${namespace}/${name}`
}

function byName(a: Pod, b: Pod): number {
  return compareText(podName(a), podName(b))
}
