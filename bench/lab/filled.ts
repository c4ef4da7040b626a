import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network } from '../../src/lab/network.ts'
import { programs } from '../../test/cluster/apiserver.ts'
import { ControlPlane, objectsOf } from './control-plane.ts'
import type { Cluster } from './generate.ts'

/**
 * A kube-apiserver that holds a cluster. What the first one created is kept beside the programs, since 44,125 Services take
 * 18 min: for each address that it assigns, the API server lists all.
 */
export async function filledControlPlane(
  network: Network,
  node: LabNode,
  cluster: Cluster,
  tell: (done: number, all: number) => void,
): Promise<ControlPlane> {
  const kept = join(programs, `etcd-${digestOf(cluster)}`)
  if (existsSync(kept)) return ControlPlane.start(network, node, kept)
  const plane = await ControlPlane.start(network, node)
  await plane.load(cluster, [], tell)
  plane.keep(kept)
  return plane
}

function digestOf(cluster: Cluster): string {
  const hash = createHash('sha256')
  for (const object of objectsOf(cluster)) hash.update(JSON.stringify(object))
  return hash.digest('hex').slice(0, 12)
}
