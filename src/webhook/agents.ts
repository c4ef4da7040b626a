/** Whether somebody is there to serve what is handed over. */

import { rawList, rawObject } from '../services/raw.ts'
import type { Ask } from './api.ts'
import { namespace } from './keeper.ts'
import { list } from './list.ts'

const agents = encodeURIComponent('app.kubernetes.io/name=lightpath,app.kubernetes.io/component=node')

export interface NodesServed {
  readonly nodes: number
  /** Names of those without a ready pod of deploy/node. */
  readonly without: readonly string[]
}

export async function nodesServed(ask: Ask): Promise<NodesServed> {
  const nodes = (await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')).map(({ metadata }) =>
    String(rawObject(metadata).name),
  )
  const pods = await list(ask, `/api/v1/namespaces/${namespace}/pods`, `labelSelector=${agents}`)
  const served = new Set(pods.filter(({ status }) => isReady(status)).map(({ spec }) => rawObject(spec).nodeName))
  return { nodes: nodes.length, without: nodes.filter(name => !served.has(name)) }
}

function isReady(status: unknown): boolean {
  return rawList(rawObject(status).conditions).some(condition => {
    const { type, status } = rawObject(condition)
    return type === 'Ready' && status === 'True'
  })
}
