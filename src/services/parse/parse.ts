/** Parses raw JSON, as the API server or a manifest has it, to the plain types of this folder, cut to what is used. */

import { familyOf } from '../../net/address.ts'
import { isAbsent, isNo, isRawObject, type Raw, rawList, rawObject, sharedText, show } from '../../text/raw.ts'
import { describeKey, type Kind, type KubeObject } from '../objects/objects.ts'
import { findOtherPolicyKind, otherPolicyKind, otherPolicyKinds } from '../objects/policykinds.ts'
import type { Namespace, Node } from '../objects/service.ts'
import type { ServiceCidr } from '../objects/servicecidr.ts'
import { type Problem, ProblemList, problem } from '../problem.ts'
import { readCidr, readIp } from './addresses.ts'
import { parseEndpointSlice } from './endpointslice.ts'
import { isName, type Metadata, type ParsedKind, type Report, usedTexts } from './kind.ts'
import { otherPolicyParser, parseNetworkPolicy, parsePod } from './networkpolicy.ts'
import { parseService } from './service.ts'

export interface Parsed {
  /** Without references to the raw value, so that this may be dropped. */
  readonly object?: KubeObject
  /** What is wrong with it; pieces that are wrong are left out, and the rest applies. */
  readonly problems: readonly Problem[]
  /** Why there is no object though nothing is wrong. */
  readonly ignored?: string
}

interface KindReader {
  readonly kind: Kind
  readonly namespaced: boolean
  /** Names of Services and Namespaces become labels of DNS names, the others whole DNS names. */
  readonly nameIs: 'label' | 'subdomain'
  readonly parse: (raw: Raw, metadata: Metadata, report: Report) => ParsedKind
}

const readers: Readonly<Record<string, KindReader>> = {
  'v1 Service': { kind: 'Service', namespaced: true, nameIs: 'label', parse: parseService },
  'v1 Namespace': { kind: 'Namespace', namespaced: false, nameIs: 'label', parse: parseNamespace },
  'v1 Pod': { kind: 'Pod', namespaced: true, nameIs: 'subdomain', parse: parsePod },
  'networking.k8s.io/v1 NetworkPolicy': {
    kind: 'NetworkPolicy',
    namespaced: true,
    nameIs: 'subdomain',
    parse: parseNetworkPolicy,
  },
  'networking.k8s.io/v1 ServiceCIDR': {
    kind: 'ServiceCIDR',
    namespaced: false,
    nameIs: 'subdomain',
    parse: parseServiceCidr,
  },
  'v1 Node': { kind: 'Node', namespaced: false, nameIs: 'subdomain', parse: parseNode },
  'discovery.k8s.io/v1 EndpointSlice': {
    kind: 'EndpointSlice',
    namespaced: true,
    nameIs: 'subdomain',
    parse: parseEndpointSlice,
  },
}

const policyReaders = new Map(
  otherPolicyKinds.map(row => {
    const kind = otherPolicyKind(row)
    const reader: KindReader = {
      kind,
      namespaced: row.of === 'namespace',
      nameIs: 'subdomain',
      parse: otherPolicyParser(kind),
    }
    return [kind, reader]
  }),
)

function policyReader(apiVersion: string, kind: string): KindReader | undefined {
  const row = findOtherPolicyKind(apiVersion, kind)
  return row && policyReaders.get(otherPolicyKind(row))
}

const noProblems: readonly Problem[] = []

/** An object that does not say when it was created is taken for younger than one that does. */
const unknownAge = Number.MAX_SAFE_INTEGER

/**
 * Parses one object. `origin` names in messages what has no name of its own, such as a file with its line. Never
 * throws.
 */
export function parseObject(raw: unknown, origin = 'object'): Parsed {
  if (!isRawObject(raw)) {
    return unreadable(origin, `${show(raw)} is no Kubernetes object`, 'write an object with apiVersion and kind')
  }
  const { apiVersion, kind } = raw
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
    const reason = typeof kind === 'string' ? isNo('text', 'apiVersion', apiVersion) : isNo('text', 'kind', kind)
    return unreadable(origin, reason, 'write apiVersion and kind, such as v1 and Service')
  }
  const reader = readerOf(apiVersion, kind)
  if (!reader) return { problems: noProblems, ignored: `${show(`${apiVersion} ${kind}`)} is not used` }
  return parseWith(reader, raw, origin)
}

/** Whether anything is made of objects of a kind, or of a list's items. */
export function isRead(apiVersion: string, kind: string): boolean {
  return kind.endsWith('List') || readerOf(apiVersion, kind) !== undefined
}

function readerOf(apiVersion: string, kind: string): KindReader | undefined {
  const type = `${apiVersion} ${kind}`
  return Object.hasOwn(readers, type) ? readers[type] : policyReader(apiVersion, kind)
}

/**
 * Returns the objects of a manifest or an answer of the API: of a List or a typed list such as ServiceList its items,
 * which need not repeat apiVersion and kind, else the value itself.
 */
export function* listItems(raw: unknown): Generator<unknown> {
  const rest: unknown[] = [raw]
  while (rest.length > 0) {
    const value = rest.pop()
    if (!isRawObject(value) || typeof value.kind !== 'string' || !Array.isArray(value.items)) {
      yield value
      continue
    }
    const kind = value.kind.replace(/List$/, '')
    const inherited = kind !== '' && kind !== value.kind ? { apiVersion: value.apiVersion, kind } : {}
    for (const item of value.items.toReversed()) rest.push(isRawObject(item) ? { ...inherited, ...item } : item)
  }
}

function unreadable(origin: string, reason: string, remedy: string): Parsed {
  return { problems: [problem('LP102', origin, reason, `it is left out; ${remedy}`)] }
}

function parseWith(reader: KindReader, raw: Raw, origin: string): Parsed {
  const meta = rawObject(raw.metadata)
  const { name } = meta
  const namespace = reader.namespaced ? (isAbsent(meta.namespace) ? 'default' : meta.namespace) : ''
  if (typeof name !== 'string' || name === '') {
    return unreadable(`${reader.kind} in ${origin}`, isNo('name', 'metadata.name', name), 'give it a name')
  }
  if (!isName(name, reader.nameIs)) {
    const remedy = 'use lower-case letters, digits and -, as Kubernetes does'
    return unreadable(`${reader.kind} in ${origin}`, `metadata.name ${show(name)} is not allowed`, remedy)
  }
  if (typeof namespace !== 'string' || (reader.namespaced && !isName(namespace, 'label'))) {
    const reason = `metadata.namespace ${show(namespace)} is no name of a namespace`
    return unreadable(`${reader.kind} ${name} in ${origin}`, reason, 'write a namespace, or none for default')
  }
  const problems = new ProblemList(describeKey({ kind: reader.kind, namespace, name }))
  const created = typeof meta.creationTimestamp === 'string' ? Date.parse(meta.creationTimestamp) : Number.NaN
  const metadata: Metadata = {
    namespace: sharedText(namespace),
    name,
    uid: typeof meta.uid === 'string' ? meta.uid : undefined,
    labels: rawObject(meta.labels),
    annotations: rawObject(meta.annotations),
    created: Number.isFinite(created) ? created : unknownAge,
  }
  const report: Report = (code, reason, remedy) => problems.add(code, reason, remedy)
  const parsed = reader.parse(raw, metadata, report)
  return { ...parsed, problems: problems.all() }
}

function parseNamespace(_raw: Raw, { name, labels }: Metadata, report: Report): ParsedKind {
  const object: Namespace = {
    kind: 'Namespace',
    name,
    labels: usedTexts('label', labels, key => key === 'lightpath', report),
  }
  return { object }
}

function parseNode(raw: Raw, { name, labels }: Metadata, report: Report): ParsedKind {
  const isUsed = (key: string) => key === 'topology.kubernetes.io/zone' || key.startsWith('lightpath.cloud/')
  const object: Node = {
    kind: 'Node',
    name,
    labels: usedTexts('label', labels, isUsed, report),
    addresses: nodeAddresses(raw, report),
    podCidrs: podCidrs(raw, report),
    leaving: isLeaving(raw),
  }
  return { object }
}

/** ExternalIPs count in a family in which there are no others, as for kube-proxy (GetNodeHostIPs). */
function nodeAddresses(node: Raw, report: Report): readonly string[] {
  const ofType = (wanted: string) =>
    rawList(rawObject(node.status).addresses).flatMap(entry => {
      const { type, address } = rawObject(entry)
      if (type !== wanted) return []
      const ip = readIp(address)
      if (!ip) report('LP102', isNo('IP address', `status.addresses: ${wanted}`, address), 'the address is left out')
      return ip ?? []
    })
  const internal = ofType('InternalIP')
  const families = new Set(internal.map(familyOf))
  return [...internal, ...ofType('ExternalIP').filter(ip => !families.has(familyOf(ip)))]
}

function podCidrs(node: Raw, report: Report): readonly string[] {
  return rawList(rawObject(node.spec).podCIDRs).flatMap(value => {
    const cidr = readCidr(value)
    if (cidr === undefined) report('LP102', `spec.podCIDRs: ${show(value)} is no CIDR`, 'it is left out')
    return cidr ?? []
  })
}

function isLeaving(node: Raw): boolean {
  const isDeleting = !isAbsent(rawObject(node.metadata).deletionTimestamp)
  const taints = rawList(rawObject(node.spec).taints).map(taint => rawObject(taint).key)
  return isDeleting || taints.includes('ToBeDeletedByClusterAutoscaler')
}

function parseServiceCidr(raw: Raw, { name }: Metadata, report: Report): ParsedKind {
  const cidrs: string[] = []
  for (const value of rawList(rawObject(raw.spec).cidrs)) {
    const cidr = readCidr(value)
    if (cidr) cidrs.push(cidr)
    else report('LP102', `spec.cidrs: ${show(value)} is no range of addresses`, 'it is left out')
  }
  const object: ServiceCidr = { kind: 'ServiceCIDR', name, cidrs }
  return { object }
}
