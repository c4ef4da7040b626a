/** Says which pods policies restrict, in where they may connect to and in who may connect to them. */

import type { OtherPolicyKind } from './policykinds.ts'

export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>
  readonly matchExpressions: readonly LabelRequirement[]
}

export interface LabelRequirement {
  readonly key: string
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
  readonly values: readonly string[]
}

export type Direction = 'ingress' | 'egress'

export interface NetworkPolicy {
  readonly kind: 'NetworkPolicy'
  readonly restricts: readonly Direction[]
  readonly namespace: string
  readonly name: string
  /** An empty one selects every pod of the namespace. */
  readonly podSelector: LabelSelector
}

/**
 * A policy of another kind (policykinds.ts), of whose selectors nothing is known: it may select any pod in its reach.
 */
export interface OtherPolicy {
  readonly kind: OtherPolicyKind
  /** '' for one that may select pods of every namespace. */
  readonly namespace: string
  readonly name: string
  readonly restricts: readonly Direction[]
}

export type Policy = NetworkPolicy | OtherPolicy

export function isPolicyKind(kind: string): kind is Policy['kind'] {
  return kind.endsWith('NetworkPolicy') || kind.includes('NetworkPolicy.')
}

export function isPolicy(object: { readonly kind: string }): object is Policy {
  return isPolicyKind(object.kind)
}

/** A pod with addresses of its own (not of the host) that has not ended. */
export interface Pod {
  readonly kind: 'Pod'
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly nodeName: string
  /** Canonical, one of each family at most; none while it waits for the next. */
  readonly addresses: readonly string[]
  /** Its condition `reachable` (labels.ts) is False. */
  readonly isUnreachable?: true
  /** Set where it is not ready while that condition is not True: whether its containers are ready. */
  readonly gated?: 'containers ready' | 'containers not ready'
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors */
export function selects(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  // A label may be named like what every object has, such as `constructor`.
  const of = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined)
  for (const key in selector.matchLabels) if (of(key) !== selector.matchLabels[key]) return false
  return selector.matchExpressions.every(requirement => isMet(requirement, of(requirement.key)))
}

function isMet({ operator, values }: LabelRequirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && isAmong(values, value)
    case 'NotIn':
      return value === undefined || !isAmong(values, value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}

/** Each of a namespace's pods asks each of its policies. */
const fewValues = 16
const setsOfMany = new WeakMap<readonly string[], ReadonlySet<string>>()

function isAmong(values: readonly string[], value: string): boolean {
  if (values.length <= fewValues) return values.includes(value)
  let set = setsOfMany.get(values)
  if (!set) {
    set = new Set(values)
    setsOfMany.set(values, set)
  }
  return set.has(value)
}
