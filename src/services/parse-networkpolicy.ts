/** networking.k8s.io/v1 NetworkPolicy and v1 Pod, cut to what says which pods are restricted in their egress. */

import { canonicalIp } from './address.ts'
import type { LabelRequirement, LabelSelector, NetworkPolicy, Pod } from './networkpolicy.ts'
import { type Metadata, type ParsedKind, type Report, usedTexts } from './parse-kind.ts'
import { isAbsent, type Raw, rawList, rawObject, sharedText, show } from './raw.ts'

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

export function parseNetworkPolicy(raw: Raw, { namespace, name }: Metadata, report: Report): ParsedKind {
  const spec = rawObject(raw.spec)
  if (!restrictsEgress(spec)) return { ignored: 'it does not restrict egress' }
  const object: NetworkPolicy = {
    kind: 'NetworkPolicy',
    namespace,
    name,
    podSelector: readSelector(rawObject(spec.podSelector), report),
  }
  return { object }
}

/** Without policyTypes, a policy that has egress rules restricts egress. */
function restrictsEgress({ policyTypes, egress }: Raw): boolean {
  return isAbsent(policyTypes) ? rawList(egress).length > 0 : rawList(policyTypes).includes('Egress')
}

function readSelector({ matchLabels, matchExpressions }: Raw, report: Report): LabelSelector {
  return {
    matchLabels: usedTexts('label', rawObject(matchLabels), () => true, report),
    matchExpressions: rawList(matchExpressions).flatMap(value => readRequirement(rawObject(value), report)),
  }
}

/** One that cannot be read is left out, so that the policy selects more pods and not fewer. */
function readRequirement({ key, operator: given, values }: Raw, report: Report): readonly LabelRequirement[] {
  const operator = operators.find(known => known === given)
  if (typeof key === 'string' && operator) {
    return [{ key, operator, values: rawList(values).filter(value => typeof value === 'string') }]
  }
  const what = `spec.podSelector.matchExpressions: ${show(key)} ${show(given)} is no requirement`
  report('LP102', what, 'it is left out, so more pods stay in the kernel layer; write a key and an operator such as In')
  return []
}

export function parsePod(raw: Raw, { namespace, name, labels }: Metadata, report: Report): ParsedKind {
  const [spec, status] = [rawObject(raw.spec), rawObject(raw.status)]
  if (spec.hostNetwork === true) return { ignored: "it has its node's address" }
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return { ignored: 'it has ended' }
  if (typeof spec.nodeName !== 'string') return { ignored: 'it is on no node' }
  const given = [...rawList(status.podIPs).map(entry => rawObject(entry).ip), status.podIP]
  const addresses = given.flatMap(ip => (typeof ip === 'string' ? (canonicalIp(ip) ?? []) : []))
  if (addresses.length === 0) return { ignored: 'it has no address yet' }
  const object: Pod = {
    kind: 'Pod',
    namespace,
    name,
    labels: usedTexts('label', labels, () => true, report),
    nodeName: sharedText(spec.nodeName),
    addresses: [...new Set(addresses)],
  }
  return { object }
}
