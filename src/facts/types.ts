/**
 * The types of resources by which a control plane tells agents the facts of the cluster, their names, and the scopes to
 * which agents subscribe. proto/lightpath/facts/v1/facts.proto has the messages.
 */

import { isPolicyKind } from '../services/objects/networkpolicy.ts'
import type { Kind, KubeObject, ObjectKey } from '../services/objects/objects.ts'

/** In the order in which a new stream gets them: what Services are judged by comes first. */
export const factTypes = [
  'Node',
  'Namespace',
  'ServiceCIDR',
  'NetworkPolicy',
  'OtherPolicy',
  'Pod',
  'Service',
  'EndpointSlice',
] as const
/** The name of a message. */
export type FactType = (typeof factTypes)[number]

const prefix = 'type.googleapis.com/lightpath.facts.v1.'

export function typeUrlOf(type: FactType): string {
  return prefix + type
}

/** Undefined for a type that is no fact. */
export function typeOfUrl(url: string): FactType | undefined {
  return factTypes.find(type => url === typeUrlOf(type))
}

export function typeOf(kind: Kind): FactType {
  if (kind === 'NetworkPolicy') return kind
  return isPolicyKind(kind) ? 'OtherPolicy' : kind
}

/** The name of the object's resource, unique in its type: `shop/cart`, `node1`, `CiliumNetworkPolicy.cilium.io/shop/cart`. */
export function nameOf({ kind, namespace, name }: ObjectKey): string {
  const own = namespace === '' ? name : `${namespace}/${name}`
  return typeOf(kind) === 'OtherPolicy' ? `${kind}/${own}` : own
}

/** The scope of all resources of a type. */
export const everything = '*'

/** The scope of the Pods of a namespace. */
export function inNamespace(namespace: string): string {
  return `${namespace}/*`
}

/** The scope of the Pods on a node, or of that Node alone. */
export function ofNode(name: string): string {
  return `node:${name}`
}

/** Whether a resource's name is that of a scope. No object of Kubernetes has such a name. */
export function isScope(name: string): boolean {
  return name.endsWith('*') || name.startsWith('node:')
}

const onlyEverything: readonly string[] = [everything]

/** The scopes that cover an object; they never change while it exists. */
export function scopesOf(object: KubeObject): readonly string[] {
  if (object.kind === 'Pod') return [everything, inNamespace(object.namespace), ofNode(object.nodeName)]
  if (object.kind === 'Node') return [everything, ofNode(object.name)]
  return onlyEverything
}
