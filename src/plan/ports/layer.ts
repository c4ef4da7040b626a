/** Decides which layer serves a Service port: the kernel alone, or Envoy on top of it. */

import { hostPort } from '../../net/address.ts'
import type { Namespace, Service, ServicePort, TrafficPolicy } from '../../services/objects/service.ts'
import { portProtocol } from '../../services/settings/protocol.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { isUsualNodePort } from './externaldestinations.ts'
import type { Endpoint, External, Layer } from './port.ts'
import { whyOptedOut } from './scope.ts'

/** Returns the layer while the port waits for room in Envoy. Most ports of a large cluster wait, so they share it. */
export function waiting(layer: Layer, why: string): Layer {
  if (layer.wants !== 'envoy') return layer
  if (why !== last.reason || layer.protocol !== last.waitsAs) last = { ...kernel(why), waitsAs: layer.protocol }
  return last
}

let last: Extract<Layer, { wants: 'kernel' }> = kernel('')

/**
 * Chooses the layer of a port of a served Service by its VIP, on which the external policy has no effect.
 *
 * @param whatever of a port that stays in the kernel layer whatever endpoints it has (`whyKernel`)
 * @param endpoints the usable ones
 */
export function chooseLayer(
  port: ServicePort,
  settings: Settings,
  whatever: Layer | undefined,
  endpoints: readonly Endpoint[],
): Layer {
  if (whatever !== undefined) return whatever
  if (endpoints.length === 0) return kernel('no usable endpoint: the kernel refuses connections, as kube-proxy does')
  const barred = whyBarred(endpoints)
  if (barred !== undefined) return { ...kernel(barred), isForEndpoint: true }
  const { protocol, isForEnvoy, reason } = portProtocol(port, settings.protocol)!
  return {
    wants: 'envoy',
    protocol,
    reason: isForEnvoy ? reason : `setting overlay: ${settings.overlay} (${protocol})`,
  }
}

/**
 * Says why the kernel layer serves a port whatever endpoints it has. Envoy cannot keep Kubernetes' timed ClientIP
 * affinity, and a Local policy means that the kernel's own choice must hold, so both stay in the kernel layer; so does
 * everything that its owner opted out.
 */
export function whyKernel(
  service: Service,
  port: ServicePort,
  namespace: Namespace | undefined,
  settings: Settings,
): string | undefined {
  const protocol = portProtocol(port, settings.protocol)
  if (protocol === undefined) return `Envoy does not balance ${port.protocol}`
  const optedOut = whyOptedOut(service, namespace)
  if (optedOut !== undefined) return optedOut
  if (service.sessionAffinity === 'ClientIP') return 'sessionAffinity is ClientIP, which the kernel keeps'
  if (service.internalTrafficPolicy === 'Local') return 'internalTrafficPolicy is Local'
  if (settings.overlay === 'false') return 'setting overlay: false'
  if (!protocol.isForEnvoy && settings.overlay === undefined) return protocol.reason
  return undefined
}

/**
 * Says why an endpoint that Envoy may not connect to keeps the whole port in the kernel layer, which chooses among all
 * of them. One that its pod has left does not, where there is another: a client that gets it finds nobody, by the
 * kernel's choice alone.
 */
function whyBarred(endpoints: readonly Endpoint[]): string | undefined {
  const hasOthers = endpoints.some(({ barred }) => barred === undefined)
  const barred = endpoints.filter(({ barred, isLeft }) => barred !== undefined && !(isLeft && hasOthers))
  if (barred.length === 0) return undefined
  const { ip, port, barred: why } = barred[0]!
  const others = barred.length > 1 ? `, and ${barred.length - 1} more endpoints are not for Envoy` : ''
  // Joined it is one string; a template is one for each of its parts, and there may be 10,000 such ports.
  return ['endpoint ', hostPort(ip, port), ': ', why, others].join('')
}

/** Why a node cannot lead external clients through Envoy, by externalTrafficPolicy; none where it can. */
export type ExternalObstacles = Readonly<Partial<Record<TrafficPolicy, string>>>

export function isReachedFromOutside({ type, externalIPs }: Pick<Service, 'type' | 'externalIPs'>): boolean {
  return type !== 'ClusterIP' || externalIPs.length > 0
}

/** Why the setting external has no effect, whatever endpoints the port has; undefined where it has one. */
export function whyNotExternal(
  service: Service,
  port: ServicePort,
  namespace: Namespace | undefined,
  settings: Settings,
  obstacles: ExternalObstacles,
): string | undefined {
  if (!isReachedFromOutside(service)) return 'the Service is not reached from outside'
  return (
    whyKernel(service, port, namespace, settings) ?? obstacles[service.externalTrafficPolicy] ?? whyNotNodePort(port)
  )
}

/** Envoy tells a node port from the ports of VIPs by its number (envoy/resources/listener.ts). */
function whyNotNodePort({ nodePort }: ServicePort): string | undefined {
  if (nodePort === undefined || isUsualNodePort(nodePort)) return undefined
  return `Envoy takes node ports from 30000 to 32767, and ${nodePort} is none`
}

/**
 * Chooses the layer of a port's external addresses.
 *
 * @param layer of the VIP
 * @param whyNot as `whyNotExternal` says
 */
export function chooseExternalLayer(
  layer: Layer,
  { endpoints }: Pick<External, 'endpoints'>,
  settings: Settings,
  whyNot: string | undefined,
): Layer {
  if (!settings.external) return externalByDefault
  if (whyNot !== undefined) return kernel(whyNot)
  if (layer.wants === 'kernel') return layer
  if (endpoints.length === 0) return kernel('externalTrafficPolicy is Local, and no endpoint is on this node')
  const barred = whyBarred(endpoints)
  if (barred !== undefined) return kernel(barred)
  return { wants: 'envoy', protocol: layer.protocol, reason: 'setting external: true' }
}

const externalByDefault = kernel('the setting external is not true')

export function kernel(reason: string) {
  return { wants: 'kernel', reason } as const
}
