/** v1 Service: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/ */

import { familyOf, isPortNumber, type Protocol } from '../../net/address.ts'
import { unusableAsVip } from '../../net/special.ts'
import { isAbsent, isNo, type Raw, rawList, rawObject, sharedList, show, trimmedList } from '../../text/raw.ts'
import type { Service, ServicePort } from '../objects/service.ts'
import { readIp } from './addresses.ts'
import { nodePort, parseExternal } from './external.ts'
import { isName, type Metadata, type ParsedKind, type Report, usedTexts } from './kind.ts'

const usedLabels: ReadonlySet<string> = new Set(['service.kubernetes.io/service-proxy-name', 'lightpath.cloud/proxy'])

const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const
const affinities = ['None', 'ClientIP'] as const
const policies = ['Cluster', 'Local'] as const

export function parseService(raw: Raw, metadata: Metadata, report: Report): ParsedKind {
  const spec = rawObject(raw.spec)
  const type = oneOf(spec, 'type', types, 'ClusterIP', report)
  const object: Service = {
    kind: 'Service',
    namespace: metadata.namespace,
    name: metadata.name,
    labels: usedTexts('label', metadata.labels, key => usedLabels.has(key), report),
    annotations: usedTexts('annotation', metadata.annotations, isSetting, report),
    type,
    clusterIPs: type === 'ExternalName' ? noIps : clusterIPs(spec, report),
    ports: servicePorts(spec, report),
    sessionAffinity: oneOf(spec, 'sessionAffinity', affinities, 'None', report),
    affinitySeconds: affinitySeconds(spec, report),
    internalTrafficPolicy: oneOf(spec, 'internalTrafficPolicy', policies, 'Cluster', report),
    externalTrafficPolicy: oneOf(spec, 'externalTrafficPolicy', policies, 'Cluster', report),
    ...parseExternal(spec, rawObject(raw.status), report),
    created: metadata.created,
    ...(metadata.uid !== undefined && { uid: metadata.uid }),
  }
  return { object }
}

function isSetting(key: string): boolean {
  return key.startsWith('config.lightpath.cloud/')
}

function oneOf<T extends string>(spec: Raw, key: string, values: readonly T[], otherwise: T, report: Report): T {
  const value = spec[key]
  if (isAbsent(value) || value === '') return otherwise
  const known = values.find(candidate => candidate === value)
  if (known === undefined) {
    report('LP102', `spec.${key} ${show(value)} is unknown`, `${otherwise} applies; write one of ${values.join(', ')}`)
  }
  return known ?? otherwise
}

/** Three hours, as the API server writes where nothing is given; it accepts up to a day. */
const defaultAffinitySeconds = 10_800
const maxAffinitySeconds = 86_400

function affinitySeconds(spec: Raw, report: Report): number {
  const seconds = rawObject(rawObject(spec.sessionAffinityConfig).clientIP).timeoutSeconds
  if (isAbsent(seconds)) return defaultAffinitySeconds
  if (Number.isInteger(seconds) && Number(seconds) >= 1 && Number(seconds) <= maxAffinitySeconds) return Number(seconds)
  const reason = `spec.sessionAffinityConfig.clientIP.timeoutSeconds ${show(seconds)} is no number of seconds`
  report('LP102', reason, `${defaultAffinitySeconds} applies; write 1 to ${maxAffinitySeconds}`)
  return defaultAffinitySeconds
}

const noIps: readonly string[] = Object.freeze([])

/**
 * Reads `clusterIPs` where it is there, else `clusterIP`; the API server keeps the first of the former equal to the
 * latter.
 */
function clusterIPs(spec: Raw, report: Report): readonly string[] {
  const { clusterIP } = spec
  const several = rawList(spec.clusterIPs)
  const given = several.length > 0 ? several : isAbsent(clusterIP) || clusterIP === '' ? [] : [clusterIP]
  if (several.length > 0 && !isAbsent(clusterIP) && clusterIP !== '' && clusterIP !== several[0]) {
    const reason = `spec.clusterIP ${show(clusterIP)} is not the first of spec.clusterIPs, ${show(several[0])}`
    report('LP102', reason, 'clusterIPs applies; make them agree')
  }
  if (given[0] === 'None') return noIps

  const ips: string[] = []
  for (const value of given) {
    const ip = readIp(value)
    const left = 'the address is left out; write the address that Kubernetes assigned'
    if (!ip) report('LP102', `spec.clusterIP ${show(value)} is no IP address`, left)
    else if (unusableAsVip(ip)) report('LP102', `spec.clusterIP ${ip} is ${unusableAsVip(ip)}`, left)
    else if (ips.some(other => familyOf(other) === familyOf(ip))) {
      report('LP102', `spec.clusterIPs: ${ip} is the second of its family`, 'the address is left out')
    } else ips.push(ip)
  }
  return ips.length > 0 ? trimmedList(ips) : noIps
}

function servicePorts(spec: Raw, report: Report): readonly ServicePort[] {
  const ports: ServicePort[] = []
  const [names, numbers] = [new Set<string>(), new Set<string>()]
  rawList(spec.ports).forEach((value, index) => {
    const port = servicePort(rawObject(value), `spec.ports[${index}]`, report)
    if (!port) return
    const number = `${port.port}/${port.protocol}`
    if (!numbers.has(number) && !names.has(port.name)) {
      numbers.add(number)
      names.add(port.name)
      ports.push(port)
    } else {
      const what = numbers.has(number) ? `${number} is there twice` : portNameTwice(port.name)
      const remedy = 'the first applies and this port is left out; give each its own name and number'
      report('LP212', `spec.ports[${index}]: ${what}`, remedy)
    }
  })
  return sharedList(ports)
}

function servicePort(raw: Raw, where: string, report: Report): ServicePort | undefined {
  const name = readPortName(raw.name)
  const protocol = readProtocol(raw.protocol)
  const { port, appProtocol } = raw
  const left = 'this port is left out'
  if (!isPortNumber(port)) report('LP212', isNo('port', `${where}.port`, port), `${left}; write 1 to 65535`)
  else if (name === undefined) {
    report('LP212', `${where}.name ${show(raw.name)} is no name`, `${left}; use lower-case letters, digits and -`)
  } else if (!protocol) {
    report('LP212', `${where}.protocol ${show(raw.protocol)} is unknown`, `${left}; write TCP, UDP or SCTP`)
  } else {
    const onNodes = nodePort(raw.nodePort, `${where}.nodePort`, report)
    const required = { name, protocol, port, ...(onNodes !== undefined && { nodePort: onNodes }) }
    if (isAbsent(appProtocol) || appProtocol === '') return required
    if (typeof appProtocol === 'string') return { ...required, appProtocol }
    report('LP212', `${where}.appProtocol ${show(appProtocol)} is no text`, "the port's name decides its protocol")
    return required
  }
  return undefined
}

/** Says what is wrong with a port of the same name as one before it. */
export function portNameTwice(name: string): string {
  return name === '' ? 'it is the second port without a name' : `the name ${show(name)} is there twice`
}

/** '' for none; undefined when it is no name. */
export function readPortName(value: unknown): string | undefined {
  if (isAbsent(value) || value === '') return ''
  return typeof value === 'string' && isName(value, 'label') ? value : undefined
}

export function readProtocol(value: unknown): Protocol | undefined {
  if (isAbsent(value) || value === '') return 'TCP'
  return value === 'TCP' || value === 'UDP' || value === 'SCTP' ? value : undefined
}
