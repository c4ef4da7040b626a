/** Handing over Services that exist already, and handing them back. */

import type { Ask } from '../cluster/api.ts'
import { list } from '../cluster/list.ts'
import { handOver, whyLeft } from '../services/handover/rule.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawList, rawObject } from '../text/raw.ts'
import { labelled, labelPath } from './admit.ts'

/** `over`: to Lightpath; `back`: to kube-proxy. */
export type Direction = 'over' | 'back'

export interface Found {
  readonly namespace: string
  readonly name: string
  readonly type: string
  /** Every IP of it. */
  readonly clusterIPs: readonly string[]
  /** Why it stays as it is; undefined for those that are to be moved. */
  readonly left: string | undefined
  readonly labels: unknown
  readonly resourceVersion: unknown
}

/** All Services of the cluster, or of one namespace. Throws where there is no such namespace. */
export async function findServices(ask: Ask, direction: Direction, namespace?: string): Promise<readonly Found[]> {
  const within = namespace === undefined ? '' : `/namespaces/${namespace}`
  const namespaces = await list(ask, '/api/v1/namespaces')
  const isThere = ({ metadata }: Raw) => rawObject(metadata).name === namespace
  if (namespace !== undefined && !namespaces.some(isThere)) throw new Error(`there is no namespace ${namespace}`)
  const labelsOf = new Map(namespaces.map(({ metadata }) => [rawObject(metadata).name, rawObject(metadata).labels]))
  const services = await list(ask, `/api/v1${within}/services`)
  return services.map(service => {
    const metadata = rawObject(service.metadata)
    const { type, clusterIPs } = rawObject(service.spec)
    const { labels, resourceVersion } = metadata
    return {
      namespace: String(metadata.namespace),
      name: String(metadata.name),
      type: String(type),
      clusterIPs: rawList(clusterIPs).map(String),
      left:
        direction === 'over'
          ? whyLeft(service, rawObject(labelsOf.get(metadata.namespace)))
          : whyNotOurs(rawObject(labels)[handOver.key]),
      labels,
      resourceVersion,
    }
  })
}

/** Throws where the Service is not as it was found: whether it is to be moved may have changed, too. */
export async function move(ask: Ask, direction: Direction, service: Found): Promise<void> {
  const { namespace, name, resourceVersion } = service
  const change = direction === 'over' ? labelled(service.labels) : { op: 'remove', path: labelPath }
  const unchanged = { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion }
  try {
    await ask('PATCH', `/api/v1/namespaces/${namespace}/services/${name}`, [unchanged, change])
  } catch (error) {
    // 422: the test failed; 409: it changed between the test and the writing.
    const isChanged = error instanceof ApiError && (error.code === 422 || error.code === 409)
    throw isChanged ? new Error('it was changed at the same time; the same command again finds it as it is now') : error
  }
}

function whyNotOurs(proxyName: unknown): string | undefined {
  if (proxyName === handOver.value) return undefined
  return proxyName === undefined ? `it has no label ${handOver.key}` : `another proxy serves it: ${proxyName}`
}
