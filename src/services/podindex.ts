/**
 * What network policies keep from Envoy. What Envoy sends leaves by the node's own output, where network plugins do not
 * look: they enforce what is forwarded, or what passes a pod's interface, and let the host speak to its pods. And a policy
 * for egress would see the VIP and Envoy in place of the endpoint. So who is selected by a policy stays in the kernel
 * layer, as a client (`clients`) and as an endpoint (`endpoints`, `whyBarred`).
 */

import { familyOf } from '../net/address.ts'
import { contains, familyOfCidr } from '../net/cidr.ts'
import { specialPlace } from '../net/special.ts'
import { labels } from './labels.ts'
import { type Direction, type Pod, type Policy, selects } from './objects/networkpolicy.ts'
import { type Change, describeKey, type KubeObject, keyOf } from './objects/objects.ts'
import type { Node } from './objects/service.ts'

/** A pod of this node whose connections stay in the kernel layer, whatever the Service. */
export interface KernelClient {
  /** `namespace/name` */
  readonly pod: string
  readonly addresses: readonly string[]
  /** The policy that selects it, or the label that keeps it below. */
  readonly reason: string
}

export interface PodKnowledge {
  /**
   * Whether the source tells all Pods, as the Kubernetes API does. Else those of a namespace count as told where there is
   * one, and of other namespaces nothing is known but what slices say.
   */
  readonly tellsPods: boolean
  /** Where pods have their addresses, canonical; empty where that is not known. */
  readonly podRanges: readonly string[]
}

/** What the kernel is to hold to, whatever Envoy was told: addresses of pods, canonical, of any family. */
export interface PolicyFacts {
  /** Connections from these stay in the kernel layer, and those that Envoy has of them end. */
  readonly clients: readonly string[]
  /** Envoy does not connect to these, and connections that it has to them end. */
  readonly endpoints: readonly string[]
  /** Connections from others, where they may be pods, stay below, too; undefined where nobody is restricted. */
  readonly known: readonly string[] | undefined
}

/** Which endpoints may be judged differently now, by namespace. */
export type Rejudged = ReadonlyMap<string, ReadonlySet<string> | 'all'> | 'all'

export interface PolicyUpdate {
  /** Something of pods or policies is different. */
  readonly touched: boolean
  readonly rejudged: Rejudged
}

/** Why Envoy may not connect to an endpoint. */
export interface Barred {
  /** In words for its owner. */
  readonly why: string
  /** Its pod, which goes on, has another address now, and its slice does not say so yet: as after a node's restart. */
  readonly isLeft: boolean
}

interface Known {
  readonly pod: Pod
  /** What it had until its addresses changed last. */
  readonly left: readonly string[]
  /** The policy that selects it, by direction. */
  readonly ingress: string | undefined
  readonly egress: string | undefined
}

const nobody: ReadonlyMap<string, Known> = new Map()
const none: readonly string[] = []

export class Policies {
  readonly #nodeName: string | undefined
  readonly #knowledge: PodKnowledge
  /** By namespace, '' for those of the cluster, and description. */
  readonly #policies = new Map<string, Map<string, Policy>>()
  /** By namespace and name. */
  readonly #pods = new Map<string, Map<string, Known>>()
  /** More than one where an address goes from one pod to the next. */
  readonly #byAddress = new Map<string, readonly Pod[]>()
  /** Addresses that pods left which go on, by namespace and address. */
  readonly #left = new Set<string>()
  readonly #nodes = new Map<string, Node>()
  #facts: PolicyFacts | undefined

  constructor(nodeName: string | undefined, knowledge: PodKnowledge) {
    this.#nodeName = nodeName
    this.#knowledge = knowledge
  }

  apply(changes: readonly Change[]): PolicyUpdate {
    const rejudged = new Gathered()
    let touched = false
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      const object = change.type === 'put' ? change.object : undefined
      if (key.kind === 'Pod')
        this.#setPod(key.namespace, key.name, object?.kind === 'Pod' ? object : undefined, rejudged)
      else if (key.kind === 'Node') this.#setNode(key.name, object, rejudged)
      else if (isPolicyKind(key.kind)) {
        this.#setPolicy(key.namespace, describeKey(key), object && isPolicy(object) ? object : undefined, rejudged)
      } else continue
      touched ||= key.kind !== 'Node'
    }
    return { touched, rejudged: rejudged.found }
  }

  /** Addresses of all pods of this node with addresses of their own. */
  addresses(): readonly string[] {
    return this.#local().flatMap(({ pod }) => pod.addresses)
  }

  /** Pods of this node, in order of their names. */
  clients(): readonly KernelClient[] {
    return this.#local()
      .flatMap(({ pod, egress }) => {
        const reason = pod.labels[labels.optOut] === 'disabled' ? `label ${labels.optOut}: disabled` : egress
        return reason === undefined ? [] : [{ pod: podName(pod), addresses: pod.addresses, reason }]
      })
      .sort((a, b) => (a.pod < b.pod ? -1 : 1))
  }

  /** The same object as long as nothing of it is different. */
  get facts(): PolicyFacts {
    this.#facts ??= {
      clients: this.clients().flatMap(({ addresses }) => addresses),
      endpoints: this.#guarded(),
      known: this.#restrictsEgress() ? this.addresses() : undefined,
    }
    return this.#facts
  }

  #guarded(): readonly string[] {
    const guarded = [...this.#pods.values()].flatMap(pods => [...pods.values()].filter(({ ingress }) => ingress))
    return [...new Set(guarded.flatMap(({ pod }) => pod.addresses))]
  }

  #restrictsEgress(): boolean {
    return [...this.#policies.values()].some(policies =>
      [...policies.values()].some(({ restricts }) => restricts.includes('egress')),
    )
  }

  /**
   * Why Envoy may not connect to an endpoint of a Service; undefined where it may.
   * @param isPod what the endpoint's slice says; see `SliceEndpoint`
   */
  whyBarred(namespace: string, ip: string, isPod: boolean): Barred | undefined {
    const why = this.#whyNot(namespace, ip, isPod)
    if (why === undefined) return undefined
    const isTaken = this.#isNode(ip) || (this.#byAddress.get(ip) ?? []).some(pod => pod.namespace === namespace)
    return { why, isLeft: isPod && !isTaken && this.#left.has(placeOf(namespace, ip)) }
  }

  #whyNot(namespace: string, ip: string, isPod: boolean): string | undefined {
    if (this.#isNode(ip)) return 'it is the address of a node'
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

  /** Where no pods are told: what the slice says, or an address that is a pod's, and any policy may select it. */
  #whyDoubtful(namespace: string, ip: string, isPod: boolean): string | undefined {
    const ranges = this.#knowledge.podRanges.filter(range => familyOfCidr(range) === familyOf(ip))
    const ofNodes = [...this.#nodes.values()].flatMap(({ podCidrs }) => podCidrs)
    const isInRange = [...ranges, ...ofNodes].some(range => contains(range, ip))
    const special = specialPlace(ip)
    if (!isInRange && special !== undefined) return `it is ${special}`
    if (!isInRange && ranges.length > 0) return `it is outside the pods' addresses (${ranges.join(', ')})`
    if (!isInRange && !isPod) return `its slice does not name a Pod of namespace ${namespace} as its target`
    const policy = this.#find(namespace, 'ingress', () => true)
    return policy && `${policy} may select its pod`
  }

  #isNode(ip: string): boolean {
    for (const { addresses } of this.#nodes.values()) if (addresses.includes(ip)) return true
    return false
  }

  #local(): readonly Known[] {
    return [...this.#pods.values()].flatMap(pods =>
      [...pods.values()].filter(({ pod }) => pod.nodeName === this.#nodeName),
    )
  }

  #setPod(namespace: string, name: string, pod: Pod | undefined, rejudged: Gathered): void {
    const before = this.#pods.get(namespace)?.get(name)
    const after = pod && this.#judge(pod, before ? leftBy(before, pod) : none)
    if (before?.left !== after?.left) {
      for (const ip of before?.left ?? []) {
        this.#left.delete(placeOf(namespace, ip))
        rejudged.add(namespace, ip)
      }
      for (const ip of after?.left ?? []) this.#left.add(placeOf(namespace, ip))
    }
    const isFact = (known: Known | undefined) => known?.ingress !== undefined || known?.pod.nodeName === this.#nodeName
    if (isFact(before) || isFact(after)) this.#facts = undefined
    for (const ip of new Set([...(before?.pod.addresses ?? []), ...(pod?.addresses ?? [])])) {
      const others = (this.#byAddress.get(ip) ?? []).filter(other => other !== before?.pod)
      const now = pod?.addresses.includes(ip) ? [...others, pod] : others
      if (now.length > 0) this.#byAddress.set(ip, now)
      else this.#byAddress.delete(ip)
      const isSame = before?.pod.addresses.includes(ip) === pod?.addresses.includes(ip)
      if (!isSame || before?.ingress !== after?.ingress) {
        for (const owner of new Set([namespace, ...others.map(other => other.namespace)])) rejudged.add(owner, ip)
      }
    }
    const pods = this.#pods.get(namespace) ?? new Map<string, Known>()
    // With the first or last pod that a directory tells of a namespace, all others are looked at in another way.
    if (!this.#knowledge.tellsPods && pods.size === 0) rejudged.add(namespace, 'all')
    if (after) pods.set(name, after)
    else pods.delete(name)
    if (pods.size > 0) this.#pods.set(namespace, pods)
    else this.#pods.delete(namespace)
    if (!this.#knowledge.tellsPods && pods.size === 0) rejudged.add(namespace, 'all')
  }

  #setPolicy(namespace: string, id: string, policy: Policy | undefined, rejudged: Gathered): void {
    this.#facts = undefined
    const policies = this.#policies.get(namespace) ?? new Map<string, Policy>()
    if (policy) policies.set(id, policy)
    else policies.delete(id)
    if (policies.size > 0) this.#policies.set(namespace, policies)
    else this.#policies.delete(namespace)
    if (!this.#knowledge.tellsPods) rejudged.add(namespace, 'all')
    const concerned = namespace === '' ? [...this.#pods.keys()] : [namespace]
    for (const one of concerned) {
      for (const [name, { pod, left, ingress }] of this.#pods.get(one) ?? nobody) {
        const known = this.#judge(pod, left)
        this.#pods.get(one)!.set(name, known)
        if (known.ingress !== ingress) for (const ip of pod.addresses) rejudged.add(one, ip)
      }
    }
  }

  #setNode(name: string, object: KubeObject | undefined, rejudged: Gathered): void {
    const [before, after] = [this.#nodes.get(name), object?.kind === 'Node' ? object : undefined]
    if (after) this.#nodes.set(name, after)
    else this.#nodes.delete(name)
    const text = (node: Node | undefined) => [...(node?.addresses ?? []), ...(node?.podCidrs ?? [])].join()
    if (text(before) !== text(after)) rejudged.add('', 'all')
  }

  #judge(pod: Pod, left: readonly string[]): Known {
    const of = (direction: Direction) => this.#find(pod.namespace, direction, policy => mayBeSelected(policy, pod))
    return { pod, left, ingress: of('ingress'), egress: of('egress') }
  }

  /** The first policy by name, so that the answer does not depend on which came first. */
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

function isPolicyKind(kind: KubeObject['kind']): boolean {
  return kind.endsWith('NetworkPolicy') || kind.includes('NetworkPolicy.')
}

function isPolicy(object: KubeObject): object is Policy {
  return isPolicyKind(object.kind)
}

function leftBy({ pod: before, left }: Known, pod: Pod): readonly string[] {
  const given = before.addresses.filter(ip => !pod.addresses.includes(ip))
  return given.length > 0 ? given : left
}

function placeOf(namespace: string, ip: string): string {
  return `${namespace} ${ip}`
}

function podName({ namespace, name }: Pod): string {
  return `${namespace}/${name}`
}

class Gathered {
  readonly #byNamespace = new Map<string, Set<string> | 'all'>()
  #everything = false

  add(namespace: string, what: string): void {
    if (namespace === '') this.#everything = true
    const known = this.#byNamespace.get(namespace)
    if (what === 'all') this.#byNamespace.set(namespace, 'all')
    else if (known === undefined) this.#byNamespace.set(namespace, new Set([what]))
    else if (known !== 'all') known.add(what)
  }

  get found(): Rejudged {
    return this.#everything ? 'all' : this.#byNamespace
  }
}
