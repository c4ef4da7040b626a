/** Decides which Services this agent serves at all, and which of them their owner keeps in the kernel layer. */

import { labels, ourProxyName } from '../../services/labels.ts'
import type { Namespace, Service } from '../../services/objects/service.ts'

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
  if (service.type === 'ExternalName') return 'ExternalName Services have no VIP; DNS answers for them'
  if (service.clusterIPs.length === 0) return 'it is headless: DNS gives out the endpoints themselves'
  if (service.ports.length === 0) return 'it has no ports'
  return undefined
}

/** Names the label by which the owner keeps the whole Service in the kernel layer; undefined where there is none. */
export function whyOptedOut({ labels: own }: Service, namespace: Namespace | undefined): string | undefined {
  if (own[labels.optOut] === 'disabled') return `label ${labels.optOut}: disabled`
  if (namespace?.labels[labels.namespaceOptOut] !== 'disabled') return undefined
  return `label ${labels.namespaceOptOut}: disabled on namespace ${namespace.name}`
}

/** Another proxy takes the Service over: it is still served, or no longer. Undefined for what is ours, or never was. */
export type Handover = 'begun' | 'done' | undefined

/**
 * Says how far another proxy has taken the Service over: it is served until that had its time, since it may learn of
 * the Service later than we do.
 *
 * @param before until now, and whether the Service has ports
 */
export function handoverOf(
  service: Service | undefined,
  scope: ServiceScope,
  before: { readonly handover: Handover; readonly isServed: boolean },
): Handover {
  if (!service || whyOthers(service, scope) === undefined || whyUnserved(service) !== undefined) return undefined
  return before.handover ?? (before.isServed ? 'begun' : undefined)
}
