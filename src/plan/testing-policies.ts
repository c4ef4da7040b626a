/** Pods and policies as manifests, for tests. */

import assert from 'node:assert/strict'
import type { Change } from '../services/objects/objects.ts'
import { parseObject } from '../services/parse/parse.ts'

export function put(raw: object): Change {
  const { object, problems } = parseObject(raw)
  assert.deepEqual(problems, [])
  return { type: 'put', object: object! }
}

interface PodOptions {
  readonly labels?: object
  readonly node?: string
  readonly namespace?: string
}

export function pod(
  name: string,
  ip: string | undefined,
  { labels, node = 'node1', namespace = 'shop' }: PodOptions = {},
): object {
  const spec = { nodeName: node }
  const status = { phase: 'Running', ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }, { ip: 'FD00::1' }] }) }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name, labels }, spec, status }
}

export function policy(name: string, spec: object, namespace = 'shop'): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name }, spec }
}

export const toldAll = { tellsPods: true, podRanges: [] }

export const forWeb = policy('web', { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Egress'] })
export const forClosed = policy('closed', {
  podSelector: { matchLabels: { app: 'closed' } },
  policyTypes: ['Ingress'],
})
