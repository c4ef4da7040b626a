/** NetworkPolicies, policies of other kinds, and Pods, cut to what says which pods are restricted. */

import {
  isAbsent,
  type Raw,
  rawList,
  rawObject,
  rawText,
  sharedList,
  sharedRecord,
  sharedText,
  show,
} from '../../text/raw.ts'
import { reachable } from '../labels.ts'
import type {
  Direction,
  LabelRequirement,
  LabelSelector,
  NetworkPolicy,
  OtherPolicy,
  Pod,
} from '../objects/networkpolicy.ts'
import type { OtherPolicyKind } from '../objects/policykinds.ts'
import { readIp } from './addresses.ts'
import { type Metadata, type ParsedKind, type Report, usedTexts } from './kind.ts'

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

export function parseNetworkPolicy(raw: Raw, { namespace, name }: Metadata, report: Report): ParsedKind {
  const spec = rawObject(raw.spec)
  const restricts = directionsOf(spec)
  if (restricts.length === 0) return { ignored: 'it restricts nothing' }
  const object: NetworkPolicy = {
    kind: 'NetworkPolicy',
    namespace,
    name,
    restricts,
    podSelector: readSelector(rawObject(spec.podSelector), report),
  }
  return { object }
}

/**
 * Reads directions. Without policyTypes, a policy restricts ingress, and one that has egress rules restricts egress,
 * too.
 */
function directionsOf({ policyTypes, egress }: Raw): readonly Direction[] {
  const types = rawList(policyTypes)
  if (types.length === 0) return rawList(egress).length > 0 ? both : ingressOnly
  return sharedList(both.filter(direction => types.some(type => rawText(type).toLowerCase() === direction)))
}

const both: readonly Direction[] = ['ingress', 'egress']
const ingressOnly: readonly Direction[] = ['ingress']

/**
 * Makes the parser of a network plugin's policy, or an administrator's. Fields of both directions begin with their
 * names (`ingress`, `ingressDeny`); Calico has `types` like NetworkPolicies, and Cilium's may deny by default in a
 * direction for which they have no rules. One that names no direction counts for both.
 */
export function otherPolicyParser(kind: OtherPolicyKind) {
  return (raw: Raw, { namespace, name }: Metadata): ParsedKind => {
    const specs = [rawObject(raw.spec), ...rawList(raw.specs).map(rawObject)]
    const types = specs.flatMap(({ types }) => rawList(types)).map(type => rawText(type).toLowerCase())
    const fields = specs.flatMap(spec => Object.keys(spec).filter(key => !isAbsent(spec[key])))
    const denied = specs.flatMap(({ enableDefaultDeny }) => namesOfTrue(rawObject(enableDefaultDeny)))
    const named = both.filter(direction => [...types, ...fields, ...denied].some(word => word.startsWith(direction)))
    const object: OtherPolicy = { kind, namespace, name, restricts: named.length > 0 ? sharedList(named) : both }
    return { object }
  }
}

function namesOfTrue(fields: Raw): readonly string[] {
  return Object.keys(fields).filter(name => fields[name] === true)
}

/** Every pod of the namespace is compared with each, so a selector has no more. */
const mostRequirements = 100

function readSelector({ matchLabels, matchExpressions }: Raw, report: Report): LabelSelector {
  const labels = Object.entries(usedTexts('label', rawObject(matchLabels), () => true, report))
  const requirements = rawList(matchExpressions).flatMap(value => readRequirement(rawObject(value), report))
  const count = labels.length + requirements.length
  if (count > mostRequirements) {
    const what = `spec.podSelector has ${count} labels and requirements`
    report('LP102', what, `the first ${mostRequirements} count, so more pods may stay in the kernel layer; write fewer`)
  }
  const kept = labels.slice(0, mostRequirements)
  return {
    matchLabels: Object.fromEntries(kept),
    matchExpressions: requirements.slice(0, mostRequirements - kept.length),
  }
}

/** Reads a requirement. One that cannot be read is left out, so that the policy selects more pods and not fewer. */
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
  const addresses = given.flatMap(ip => readIp(ip) ?? [])
  // A running pod has lost its addresses, as when its node starts again, and gets others.
  if (addresses.length === 0 && status.phase !== 'Running') return { ignored: 'it has no address yet' }
  const isGated = rawList(spec.readinessGates).some(gate => rawObject(gate).conditionType === reachable)
  const conditions = rawList(status.conditions).map(rawObject)
  const is = (condition: string, wanted: string) =>
    conditions.some(({ type, status }) => type === condition && status === wanted)
  const object: Pod = {
    kind: 'Pod',
    namespace,
    name,
    labels: sharedRecord(usedTexts('label', labels, () => true, report)),
    nodeName: sharedText(spec.nodeName),
    addresses: [...new Set(addresses)],
    ...(is(reachable, 'False') && { isUnreachable: true }),
    ...(isGated && { gated: is('ContainersReady', 'True') ? 'containers ready' : 'containers not ready' }),
  }
  return { object }
}
