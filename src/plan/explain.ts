/** Explains a Service on this node, as data: what `lightpath explain` prints. */

import type { IpFamily } from '../net/address.ts'
import { portLabel, type Service } from '../services/objects/service.ts'
import type { ServiceSettings } from '../services/settings/annotations.ts'
import { settingDefinitions } from '../services/settings/definitions.ts'
import type { EnvoyProtocol } from '../services/settings/envoyprotocol.ts'
import type { ExplainedEndpoint } from './endpoints/choice.ts'
import type { HealthCheck } from './endpoints/healthcheck.ts'
import type { External, PortState } from './ports/port.ts'

/** What `explain` shows of a Service. */
export interface ServiceView {
  readonly service: Service
  readonly settings: ServiceSettings
  readonly ignored: string | undefined
  readonly optedOut: string | undefined
  readonly ports: readonly PortState[]
  readonly candidates: ReadonlyMap<string, readonly ExplainedEndpoint[]>
  readonly healthChecks: readonly HealthCheck[]
}

export interface SettingExplanation {
  readonly name: string
  readonly value: string
  /** `default`, or the annotation that sets it. */
  readonly from: string
}

export interface EndpointExplanation {
  readonly address: string
  readonly port: number
  readonly node: string | undefined
  readonly zone: string | undefined
  /** Why this node does not use it; undefined where it does. */
  readonly notUsed: string | undefined
  /** Why it is excluded, by the word of other nodes; it is used all the same where nothing else can be. */
  readonly excluded: string | undefined
  /** Why Envoy may not connect to it; undefined where it may, or where that was not checked. */
  readonly barred: string | undefined
}

export interface PortExplanation {
  readonly id: string
  readonly name: string
  readonly vip: string
  readonly family: IpFamily
  readonly port: number
  readonly protocol: string
  readonly layer: PortState['layer']
  /** Undefined for a port that is reached by its VIP only. */
  readonly external: External | undefined
  readonly settings: readonly SettingExplanation[]
  readonly endpoints: readonly EndpointExplanation[]
}

export interface ServiceExplanation {
  readonly namespace: string
  readonly name: string
  readonly type: Service['type']
  readonly clusterIPs: readonly string[]
  readonly sessionAffinity: Service['sessionAffinity']
  readonly internalTrafficPolicy: Service['internalTrafficPolicy']
  /** Why Lightpath does not serve it; undefined where it does. */
  readonly ignored: string | undefined
  /** By which label its owner keeps all of it in the kernel layer; undefined where there is none. */
  readonly optedOut: string | undefined
  /** Where load balancers ask this node for it, and how many endpoints the answer names. */
  readonly healthChecks: readonly Pick<HealthCheck, 'family' | 'port' | 'localEndpoints'>[]
  readonly ports: readonly PortExplanation[]
}

export function explainService(view: ServiceView): ServiceExplanation {
  const { namespace, name, type, clusterIPs, sessionAffinity, internalTrafficPolicy } = view.service
  const ports = view.ports.map(state => explainPort(state, view))
  const healthChecks = view.healthChecks.map(({ family, port, localEndpoints }) => ({ family, port, localEndpoints }))
  return {
    namespace,
    name,
    type,
    clusterIPs,
    sessionAffinity,
    internalTrafficPolicy,
    ignored: view.ignored,
    optedOut: view.optedOut,
    healthChecks,
    ports,
  }
}

function explainPort(state: PortState, view: ServiceView): PortExplanation {
  const { id, port, family, vip, layer, external } = state
  const protocol = layer.wants === 'envoy' ? layer.protocol : layer.waitsAs
  const endpoints = (view.candidates.get(id) ?? []).map(candidate => ({
    address: candidate.ip,
    port: candidate.port,
    node: candidate.nodeName,
    zone: candidate.source.traits.zone,
    notUsed: candidate.notUsed,
    excluded: candidate.excluded,
    barred: candidate.barred,
  }))
  return {
    id,
    name: portLabel(port),
    vip,
    family,
    port: port.port,
    protocol: port.protocol,
    layer,
    external,
    settings: protocol ? explainSettings(state, protocol, view) : [],
    endpoints,
  }
}

function explainSettings(state: PortState, protocol: EnvoyProtocol, view: ServiceView): readonly SettingExplanation[] {
  const annotated = view.settings.annotated.get(portLabel(state.port))
  return settingDefinitions
    .filter(({ protocols }) => protocols.includes(protocol))
    .map(({ name, key, defaultText, defaultOf }) => {
      const annotation = annotated?.get(key)
      if (annotation === undefined) return { name, value: defaultOf?.[protocol] ?? defaultText, from: 'default' }
      return { name, value: view.service.annotations[annotation]!.trim(), from: annotation }
    })
}
