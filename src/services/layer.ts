/** Which layer serves a Service port: the kernel alone, or Envoy on top of it. */

import type { Layer } from './port.ts'
import { envoyProtocol } from './protocol.ts'
import type { Namespace, Service, ServicePort } from './service.ts'
import type { Settings } from './settings.ts'

export const labels = {
  proxyName: 'service.kubernetes.io/service-proxy-name',
  headless: 'service.kubernetes.io/headless',
  optOut: 'lightpath.cloud/proxy',
  namespaceOptOut: 'lightpath',
} as const

export const ourProxyName = 'lightpath.cloud'

/** Which Services this agent is for: all that no other proxy has, or those that name it, beside a kube-proxy. */
export const serviceScopes = ['all', 'labelled'] as const
export type ServiceScope = (typeof serviceScopes)[number]

/** Why a Service is another proxy's; undefined for those that are ours. */
export function whyOthers(service: Service, scope: ServiceScope): string | undefined {
  const proxyName = service.labels[labels.proxyName]
  if (proxyName === undefined && scope === 'labelled') {
    return `it lacks the label ${labels.proxyName}: ${ourProxyName}, which --services=labelled asks for`
  }
  if (proxyName === undefined || proxyName === ourProxyName) return undefined
  return `another proxy serves it (${labels.proxyName}: ${proxyName})`
}

/** Why there is nothing to serve of a Service, whoever it belongs to; undefined where there is. */
export function whyUnserved(service: Service): string | undefined {
  if (service.labels[labels.headless] !== undefined) return `it has the label ${labels.headless}`
  if (service.type === 'ExternalName') return 'ExternalName Services have no VIP; DNS answers for them'
  if (service.clusterIPs.length === 0) return 'it is headless: DNS gives out the endpoints themselves'
  if (service.ports.length === 0) return 'it has no ports'
  return undefined
}

/**
 * The layer of a port of a served Service. Envoy cannot keep Kubernetes' timed ClientIP affinity, and a Local policy
 * means that the kernel's own choice must hold, so both stay below; so does everything that its owner opted out. The
 * external policy does not count: what comes from outside never goes through Envoy.
 */
export function chooseLayer(
  service: Service,
  port: ServicePort,
  namespace: Namespace | undefined,
  settings: Settings,
  usableEndpoints: number,
): Layer {
  const kernel = (reason: string): Layer => ({ wants: 'kernel', reason })
  const protocol = envoyProtocol(port)

  if (protocol === undefined) return kernel(`Envoy does not balance ${port.protocol}`)
  if (service.labels[labels.optOut] === 'disabled') return kernel(`label ${labels.optOut}: disabled`)
  if (namespace?.labels[labels.namespaceOptOut] === 'disabled') {
    return kernel(`label ${labels.namespaceOptOut}: disabled on namespace ${namespace.name}`)
  }
  if (service.sessionAffinity === 'ClientIP') return kernel('sessionAffinity is ClientIP, which the kernel keeps')
  if (service.internalTrafficPolicy === 'Local') return kernel('internalTrafficPolicy is Local')
  if (settings.overlay === false) return kernel('setting overlay: false')
  if (protocol === 'tcp' && settings.overlay !== true) {
    return kernel('plain TCP; Envoy balances it with the setting overlay: true')
  }
  if (usableEndpoints === 0) return kernel('no usable endpoint: the kernel refuses connections, as kube-proxy does')
  return { wants: 'envoy', protocol, reason: whyEnvoy(port, protocol, settings) }
}

function whyEnvoy(port: ServicePort, protocol: string, settings: Settings): string {
  if (settings.overlay === true) return `setting overlay: true (${protocol})`
  return port.appProtocol === undefined ? `port name ${port.name}` : `appProtocol ${port.appProtocol}`
}
