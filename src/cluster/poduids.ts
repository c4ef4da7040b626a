/** Asks the API server for the uid of a Pod, which facts do not have: by a list of one, which takes no further right. */

import { isRawObject } from '../text/raw.ts'
import type { Ask } from './api.ts'

export function podUids(ask: Ask): (kind: string, namespace: string, name: string) => Promise<string | undefined> {
  return async (kind, namespace, name) => {
    if (kind !== 'Pod') return undefined
    const selector = encodeURIComponent(`metadata.name=${name}`)
    const { items } = await ask('GET', `/api/v1/namespaces/${namespace}/pods?fieldSelector=${selector}`)
    const [pod] = Array.isArray(items) ? items : []
    const uid = isRawObject(pod) && isRawObject(pod.metadata) ? pod.metadata.uid : undefined
    return typeof uid === 'string' ? uid : undefined
  }
}
