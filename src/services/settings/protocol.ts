/**
 * Decides what a Service port speaks, as far as its owner says: by the rules of docs/settings.md, of which the first
 * that fits counts.
 */

import type { ServicePort } from '../objects/service.ts'
import type { EnvoyProtocol } from './envoyprotocol.ts'

/** The protocol of a TCP port by the rules. */
export interface PortProtocol {
  /** The protocol that Envoy speaks on this port; `tcp` where it only could, by the setting overlay. */
  readonly protocol: EnvoyProtocol
  /** Whether Envoy balances the port unless its owner sets overlay. */
  readonly isForEnvoy: boolean
  /** For a user: which rule it was, and what promotes a port that is not for Envoy. */
  readonly reason: string
}

/**
 * Values of appProtocol, in lower case: those of Kubernetes (KEP-3726), of the Gateway API (GEP-1911), and IANA's
 * service names (KEP-1422). `http2` is plain for Istio and TLS for GKE. Whether HTTP is HTTP/1 or HTTP/2, the first
 * bytes tell.
 */
const appProtocols: ReadonlyMap<string, EnvoyProtocol> = new Map([
  ['http', 'http'],
  ['http2', 'http'],
  ['h2c', 'http'],
  ['kubernetes.io/h2c', 'http'],
  ['kubernetes.io/ws', 'http'],
  ['grpc-web', 'http'],
  ['grpc', 'grpc'],
  ['lightpath.cloud/redis', 'redis'],
])

/** Names of ports, up to their first dash, that say what a port speaks. */
const names: ReadonlyMap<string, EnvoyProtocol> = new Map([
  ['http', 'http'],
  ['http1', 'http'],
  ['http2', 'http'],
  ['h2c', 'http'],
  ['grpc', 'grpc'],
])

/** The names of TLS in port names and appProtocol. */
const tls: readonly string[] = ['https', 'tls', 'ssl', 'grpcs', 'wss', 'kubernetes.io/wss', 'http3']

/**
 * Returns what a port speaks by the first rule that fits it; undefined for UDP and SCTP, of which Envoy balances none.
 *
 * @param set the port's setting protocol
 */
export function portProtocol(port: ServicePort, set: EnvoyProtocol | undefined): PortProtocol | undefined {
  const { protocol: transport, appProtocol, name } = port
  if (transport !== 'TCP') return undefined
  if (set !== undefined) return { protocol: set, isForEnvoy: true, reason: `setting protocol: ${set}` }
  if (appProtocol === undefined) return byName(name)
  const protocol = appProtocols.get(appProtocol.toLowerCase())
  const reason = `appProtocol ${appProtocol}`
  if (protocol === undefined) return kernel(reason, appProtocol)
  return { protocol, isForEnvoy: true, reason }
}

function byName(name: string): PortProtocol {
  const dash = name.indexOf('-')
  const protocol = names.get((dash < 0 ? name : name.slice(0, dash)).toLowerCase())
  if (protocol !== undefined) return { protocol, isForEnvoy: true, reason: `port name ${name}` }
  return name === '' ? kernel('neither port name nor appProtocol', name) : kernel(`port name ${name}`, name)
}

/** The rules as rows of docs/settings.md: condition and layer. */
export const protocolRules: readonly (readonly [string, string])[] = [
  ['UDP or SCTP', 'the kernel layer'],
  ['the setting `protocol` is there', 'what it says'],
  [`appProtocol is ${listed(appProtocols, 'http')}`, 'http'],
  [`appProtocol is ${listed(appProtocols, 'grpc')}`, 'grpc'],
  [`appProtocol is ${listed(appProtocols, 'redis')}`, 'redis'],
  ['any other appProtocol', 'the kernel layer; tcp with `overlay: true`'],
  [`the port's name up to its first \`-\` is ${listed(names, 'http')}`, 'http'],
  [`the port's name up to its first \`-\` is ${listed(names, 'grpc')}`, 'grpc'],
  ['anything else', 'the kernel layer; tcp with `overlay: true`'],
]

/** @param said what the owner calls the protocol, from which follows what to do if Envoy is to balance it */
function kernel(what: string, said: string): PortProtocol {
  return { protocol: 'tcp', isForEnvoy: false, reason: `${what}: ${advice(said.toLowerCase())}` }
}

function advice(said: string): string {
  const words = [said, ...said.split('-')]
  if (words.some(word => tls.includes(word))) return 'Envoy sees no requests within TLS'
  const known = words.map(word => names.get(word)).find(protocol => protocol !== undefined)
  if (known) return `not by its beginning; Envoy balances its requests with the setting protocol: ${known}`
  return 'the setting protocol or overlay brings it to Envoy'
}

function listed(table: ReadonlyMap<string, EnvoyProtocol>, protocol: EnvoyProtocol): string {
  const words = [...table].filter(([, result]) => result === protocol).map(([word]) => `\`${word}\``)
  return words.length === 1 ? words[0]! : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}
