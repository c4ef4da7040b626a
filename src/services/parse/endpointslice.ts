/** discovery.k8s.io/v1 EndpointSlice: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/ */

import { familyOf, type IpFamily, isPortNumber } from '../../net/address.ts'
import { unusableAsEndpoint } from '../../net/special.ts'
import {
  isAbsent,
  isNo,
  type Raw,
  rawList,
  rawObject,
  sharedList,
  sharedObject,
  sharedText,
  show,
  trimmedList,
} from '../../text/raw.ts'
import { labels } from '../labels.ts'
import type { EndpointSlice, EndpointTraits, SliceEndpoint, SlicePort } from '../objects/endpointslice.ts'
import { readIp } from './addresses.ts'
import { isName, type Metadata, type ParsedKind, type Report } from './kind.ts'
import { portNameTwice, readPortName, readProtocol } from './service.ts'

export function parseEndpointSlice(raw: Raw, metadata: Metadata, report: Report): ParsedKind {
  const service = metadata.labels['kubernetes.io/service-name']
  if (isAbsent(service) || service === '') return { ignored: 'it has no label kubernetes.io/service-name' }
  if (typeof service !== 'string' || !isName(service, 'label')) {
    const reason = `label kubernetes.io/service-name: ${show(service)} is no name of a Service`
    report('LP221', reason, 'the slice is left out; name the Service')
    return {}
  }
  // Kubernetes copies a Service's labels to its slices, and kube-proxy asks for neither with this one.
  if (metadata.labels[labels.headless] !== undefined) return { ignored: `it has the label ${labels.headless}` }
  const family = raw.addressType
  if (family === 'FQDN') return { ignored: 'its endpoints are names (FQDN), which no proxy uses' }
  if (family !== 'IPv4' && family !== 'IPv6') {
    report('LP221', isNo('family', 'addressType', family), 'the slice is left out; write IPv4 or IPv6')
    return {}
  }
  const triggered = metadata.annotations['endpoints.kubernetes.io/last-change-trigger-time']
  const triggeredMs = typeof triggered === 'string' ? Date.parse(triggered) : Number.NaN
  const object: EndpointSlice = {
    kind: 'EndpointSlice',
    namespace: metadata.namespace,
    name: metadata.name,
    service,
    family,
    ports: slicePorts(raw, report),
    endpoints: endpoints(raw, family, metadata.namespace, report),
    ...(Number.isFinite(triggeredMs) && { triggered: triggeredMs }),
  }
  return { object }
}

/**
 * Reads ports. One without number means "all ports", which only other consumers than proxies use; it is left out
 * quietly.
 */
function slicePorts(raw: Raw, report: Report): readonly SlicePort[] {
  const ports: SlicePort[] = []
  const names = new Set<string>()
  rawList(raw.ports).forEach((value, index) => {
    const { name: rawName, protocol: rawProtocol, port } = rawObject(value)
    const name = readPortName(rawName)
    const protocol = readProtocol(rawProtocol)
    const where = `ports[${index}]`
    const left = 'this port is left out'
    if (isAbsent(port)) return
    if (!isPortNumber(port)) report('LP221', `${where}.port ${show(port)} is no port`, `${left}; write 1 to 65535`)
    else if (name === undefined) report('LP221', `${where}.name ${show(rawName)} is no name`, left)
    else if (!protocol) {
      report('LP221', `${where}.protocol ${show(rawProtocol)} is unknown`, `${left}; write TCP, UDP or SCTP`)
    } else if (names.has(name)) {
      report('LP221', `${where}: ${portNameTwice(name)}`, `the first applies and ${left}`)
    } else {
      names.add(name)
      ports.push({ name, protocol, port })
    }
  })
  return sharedList(ports)
}

function endpoints(raw: Raw, family: IpFamily, namespace: string, report: Report): readonly SliceEndpoint[] {
  const read: SliceEndpoint[] = []
  rawList(raw.endpoints).forEach((value, index) => {
    const endpoint = readEndpoint(rawObject(value), { family, namespace }, `endpoints[${index}]`, report)
    if (endpoint) read.push(endpoint)
  })
  return trimmedList(read)
}

const left = 'this endpoint is left out'

type Slice = Pick<EndpointSlice, 'family' | 'namespace'>

function readEndpoint(raw: Raw, slice: Slice, where: string, report: Report): SliceEndpoint | undefined {
  const address = rawList(raw.addresses)[0]
  const ip = readIp(address)
  if (!ip) report('LP221', isNo('IP address', `${where}.addresses[0]`, address), left)
  else if (familyOf(ip) !== slice.family) {
    report('LP221', `${where}.addresses[0] ${ip} is not of the slice's addressType ${slice.family}`, left)
  } else if (unusableAsEndpoint(ip)) report('LP221', `${where}.addresses[0] ${ip} is ${unusableAsEndpoint(ip)}`, left)
  else {
    const conditions = readConditions(rawObject(raw.conditions), where, report)
    if (!conditions) return undefined
    const [nodeName, zone] = [readPlace(raw, 'nodeName', where, report), readPlace(raw, 'zone', where, report)]
    const traits = { ...conditions, nodeName, zone, isPod: isPod(raw, slice.namespace), ...readHints(raw) }
    return { ip, traits: sharedObject(traits) }
  }
  return undefined
}

function isPod({ targetRef }: Raw, inNamespace: string): boolean {
  const { kind, namespace } = rawObject(targetRef)
  return kind === 'Pod' && (isAbsent(namespace) || namespace === inNamespace)
}

/**
 * Reads conditions with the defaults of discovery.k8s.io/v1. A value that is neither true nor false leaves out the
 * endpoint: guessing might send traffic to it.
 */
function readConditions(
  raw: Raw,
  where: string,
  report: Report,
): Pick<EndpointTraits, 'ready' | 'serving' | 'terminating'> | undefined {
  for (const key of ['ready', 'serving', 'terminating']) {
    const value = raw[key]
    if (isAbsent(value) || typeof value === 'boolean') continue
    report('LP221', `${where}.conditions.${key} ${show(value)} is neither true nor false`, left)
    return undefined
  }
  return { ready: raw.ready !== false, serving: raw.serving !== false, terminating: raw.terminating === true }
}

function readPlace(raw: Raw, key: 'nodeName' | 'zone', where: string, report: Report): string | undefined {
  const value = raw[key]
  if (isAbsent(value) || value === '') return undefined
  if (typeof value === 'string') return sharedText(value)
  report('LP221', `${where}.${key} ${show(value)} is no name`, `the ${key} is left out`)
  return undefined
}

/** Reads hints. A hint is advice: one that cannot be read is none. */
function readHints(raw: Raw): Pick<EndpointTraits, 'forZones' | 'forNodes'> | undefined {
  const hints = rawObject(raw.hints)
  const forZones = names(hints.forZones)
  const forNodes = names(hints.forNodes)
  if (!forZones && !forNodes) return undefined
  return { ...(forZones && { forZones }), ...(forNodes && { forNodes }) }
}

function names(value: unknown): readonly string[] | undefined {
  const read = rawList(value)
    .map(entry => rawObject(entry).name)
    .filter(name => typeof name === 'string' && name !== '')
  return read.length > 0 ? sharedList(read as string[]) : undefined
}
