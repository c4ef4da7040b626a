/**
 * Kinds of policies beside networking.k8s.io NetworkPolicies, which network plugins enforce. Their selectors are not
 * read: such a policy may select any pod of its namespace, and one of the cluster any pod at all.
 *
 * Calico keeps its own in crd.projectcalico.org, and projectcalico.org is the API in front of that; where its data is
 * in an etcd of its own, only the latter has them.
 */

export const otherPolicyKinds = [
  { kind: 'AdminNetworkPolicy', group: 'policy.networking.k8s.io', of: 'cluster' },
  { kind: 'BaselineAdminNetworkPolicy', group: 'policy.networking.k8s.io', of: 'cluster' },
  { kind: 'ClusterNetworkPolicy', group: 'policy.networking.k8s.io', of: 'cluster' },
  { kind: 'CiliumNetworkPolicy', group: 'cilium.io', of: 'namespace' },
  { kind: 'CiliumClusterwideNetworkPolicy', group: 'cilium.io', of: 'cluster' },
  { kind: 'NetworkPolicy', group: 'crd.projectcalico.org', of: 'namespace' },
  { kind: 'GlobalNetworkPolicy', group: 'crd.projectcalico.org', of: 'cluster' },
  { kind: 'NetworkPolicy', group: 'projectcalico.org', of: 'namespace' },
  { kind: 'GlobalNetworkPolicy', group: 'projectcalico.org', of: 'cluster' },
  { kind: 'NetworkPolicy', group: 'crd.antrea.io', of: 'namespace' },
  { kind: 'ClusterNetworkPolicy', group: 'crd.antrea.io', of: 'cluster' },
  { kind: 'ApplicationNetworkPolicy', group: 'networking.k8s.aws', of: 'namespace' },
  { kind: 'ClusterNetworkPolicy', group: 'networking.k8s.aws', of: 'cluster' },
] as const satisfies readonly { readonly kind: string; readonly group: string; readonly of: 'namespace' | 'cluster' }[]

type Row = (typeof otherPolicyKinds)[number]
type NameOf<R> = R extends Row ? `${R['kind']}.${R['group']}` : never
/** As kubectl takes it: two groups may have a kind of one name. */
export type OtherPolicyKind = NameOf<Row>

export function otherPolicyKind({ kind, group }: Pick<Row, 'kind' | 'group'>): OtherPolicyKind {
  return `${kind}.${group}` as OtherPolicyKind
}

/** Finds a kind in any version: a policy that is not recognized would be one that does not hold. */
export function findOtherPolicyKind(apiVersion: string, kind: string): Row | undefined {
  const [group] = apiVersion.split('/', 1)
  return otherPolicyKinds.find(row => row.group === group && row.kind === kind)
}
