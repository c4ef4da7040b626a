/** Tells agents whom to trust as control plane: by a ConfigMap, which the kubelet writes to a file of theirs. */

import { orNone } from '../certificates/keeper.ts'
import type { Ask } from '../cluster/api.ts'
import { namespace } from '../cluster/namespace.ts'
import { rawObject } from '../text/raw.ts'

const authorityConfigMap = 'lightpath-controlplane-authority'
const configMaps = `/api/v1/namespaces/${namespace}/configmaps`
const path = `${configMaps}/${authorityConfigMap}`
/** When the certificates were written. It stands in the ConfigMap, so that all replicas wait for the same time. */
const writtenAnnotation = 'lightpath.cloud/written'
/** A kubelet looks at what it has mounted every 60 to 90 s, and may have heard of a change that much later. */
const settleMs = 5 * 60_000

/** Writes the ConfigMap. Resolves to whether every agent has these certificates by now. */
export async function trustInConfigMap(ask: Ask, authority: string, now = Date.now): Promise<boolean> {
  const found = await ask('GET', path).catch(orNone)
  const { resourceVersion, annotations } = rawObject(found?.metadata)
  if (rawObject(found?.data)['ca.crt'] === authority) {
    const written = Date.parse(String(rawObject(annotations)[writtenAnnotation]))
    // One that somebody has spoilt says nothing of a wait.
    return !(now() - written < settleMs)
  }
  const metadata = {
    name: authorityConfigMap,
    labels: { 'app.kubernetes.io/name': 'lightpath', 'app.kubernetes.io/component': 'controlplane' },
    resourceVersion,
    annotations: { [writtenAnnotation]: new Date(now()).toISOString() },
  }
  const body = { metadata, data: { 'ca.crt': authority } }
  if (found) await ask('PUT', path, body)
  else await ask('POST', configMaps, body)
  return false
}
