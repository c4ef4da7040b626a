/** Whether somebody is there to serve what is handed over. */

import type { Ask } from '../cluster/api.ts'
import { list } from '../cluster/list.ts'
import { namespace } from '../cluster/namespace.ts'
import { isReady, nameOf } from '../cluster/objects.ts'
import { rawObject } from '../text/raw.ts'

const agents = encodeURIComponent('app.kubernetes.io/name=lightpath,app.kubernetes.io/component=node')

export interface NodesServed {
  readonly nodes: number
  /** Names of those without a ready pod of deploy/node. */
  readonly without: readonly string[]
}

export async function nodesServed(ask: Ask): Promise<NodesServed> {
  const nodes = (await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')).map(nameOf)
  const pods = await list(ask, `/api/v1/namespaces/${namespace}/pods`, `labelSelector=${agents}`)
  const served = new Set(pods.filter(isReady).map(({ spec }) => rawObject(spec).nodeName))
  return { nodes: nodes.length, without: nodes.filter(name => !served.has(name)) }
}
