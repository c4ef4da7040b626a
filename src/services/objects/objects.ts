/** The objects that Lightpath reads, and the changes that a source reports of them. */

import type { EndpointSlice } from './endpointslice.ts'
import type { NetworkPolicy, OtherPolicy, Pod } from './networkpolicy.ts'
import type { Namespace, Node, Service } from './service.ts'
import type { ServiceCidr } from './servicecidr.ts'

export type KubeObject = Service | EndpointSlice | Node | Namespace | NetworkPolicy | OtherPolicy | Pod | ServiceCidr
export type Kind = KubeObject['kind']

/** `namespace` is '' for cluster-scoped kinds. */
export interface ObjectKey {
  readonly kind: Kind
  readonly namespace: string
  readonly name: string
}

/** `version` is the object's resourceVersion, where the source has one. */
export type Change =
  | { readonly type: 'put'; readonly object: KubeObject; readonly version?: string }
  | { readonly type: 'remove'; readonly key: ObjectKey }

export function keyOf(object: KubeObject): ObjectKey {
  return { kind: object.kind, namespace: 'namespace' in object ? object.namespace : '', name: object.name }
}

/** `Service whoami/whoami`, `Node node1`. */
export function describeKey({ kind, namespace, name }: ObjectKey): string {
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`
}

/** Finds the namespace in what `describeKey` returns; '' where the object has none. */
export function namespaceIn(description: string): string {
  return /^\w+ ([^/]+)\//.exec(description)?.[1] ?? ''
}
