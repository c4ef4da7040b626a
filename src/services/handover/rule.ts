/**
 * Decides which new Services are handed to Lightpath. The same rule, as selectors and CEL, is in
 * deploy/components/admission-policy.
 */

import { rawObject } from '../../text/raw.ts'
import { labels, ourProxyName } from '../labels.ts'

/** The label that hands a Service over, and that makes kube-proxy leave it alone. */
export const handOver = { key: labels.proxyName, value: ourProxyName } as const

/** Needed before Lightpath can run, or by Lightpath itself. */
const excludedNamespaces: readonly unknown[] = ['lightpath-system', 'kube-system', 'cert-manager']

/**
 * Why a Service is left as it is; undefined for those that get the label.
 *
 * @param service a v1 Service as the API has it
 * @param namespaceLabels labels of its namespace
 */
export function whyLeft(service: unknown, namespaceLabels: Readonly<Record<string, unknown>>): string | undefined {
  const { metadata, spec } = rawObject(service)
  const { namespace, name, labels: rawLabels } = rawObject(metadata)
  const { type, clusterIP } = rawObject(spec)
  const own = rawObject(rawLabels)

  if (own[handOver.key] !== undefined) return `label ${handOver.key} is there: ${own[handOver.key]}`
  if (own[labels.optOut] === 'disabled') return `label ${labels.optOut}: disabled`
  if (excludedNamespaces.includes(namespace)) return `namespace ${namespace} is excluded`
  if (namespaceLabels[labels.namespaceOptOut] === 'disabled') {
    return `label ${labels.namespaceOptOut}: disabled on namespace ${namespace}`
  }
  // Lightpath itself reaches the API server by this one: after a reboot neither could wait for the other.
  if (namespace === 'default' && name === 'kubernetes') return 'it is the API server'
  // Nothing to hand over: no proxy serves a Service without a VIP.
  if (type === 'ExternalName') return 'ExternalName Services have no VIP'
  if (clusterIP === 'None') return 'it is headless'
  return undefined
}
