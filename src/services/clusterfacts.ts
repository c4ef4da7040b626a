/**
 * The facts of the cluster, as a source has reported them. They are the same for every node: what one of them makes of
 * them is a plan (plan/nodeplan.ts), and many plans may follow the same facts.
 */

import { NodeIndex } from './nodeindex.ts'
import { isPolicy, isPolicyKind } from './objects/networkpolicy.ts'
import { type Change, keyOf } from './objects/objects.ts'
import { PodChanges, type PodsUpdate } from './podchanges.ts'
import { PodIndex, type PodKnowledge } from './podindex.ts'
import { ServiceIndex } from './serviceindex.ts'

/** What has changed, for plans to derive again. */
export interface FactsUpdate {
  /** Services (`namespace/name`) that came, went or changed, or whose endpoints or Namespace did. */
  readonly services: ReadonlySet<string>
  /** Names of Namespaces that went. */
  readonly goneNamespaces: readonly string[]
  /** Names of Nodes that came, went or changed. */
  readonly nodes: ReadonlySet<string>
  readonly pods: PodsUpdate
}

const onlyFromSlices: PodKnowledge = { tellsPods: false, podRanges: [] }

export class ClusterFacts {
  readonly services = new ServiceIndex()
  readonly nodes = new NodeIndex()
  readonly pods: PodIndex

  /** @param knowledge of pods; default: what slices say of them is all */
  constructor(knowledge = onlyFromSlices) {
    this.pods = new PodIndex(knowledge, this.nodes)
  }

  apply(changes: readonly Change[]): FactsUpdate {
    const services = new Set<string>()
    const goneNamespaces: string[] = []
    const nodes = new Set<string>()
    const pods = new PodChanges()
    for (const change of changes) {
      const object = change.type === 'put' ? change.object : undefined
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      const { kind, namespace, name } = key
      if (kind === 'Pod') this.pods.setPod(namespace, name, object?.kind === 'Pod' ? object : undefined, pods)
      else if (isPolicyKind(kind)) this.pods.setPolicy(key, object && isPolicy(object) ? object : undefined, pods)
      else if (kind === 'Node') {
        nodes.add(name)
        if (this.nodes.set(name, object?.kind === 'Node' ? object : undefined)) pods.rejudge('', 'all')
      } else {
        this.services.apply(change, services)
        if (kind === 'Namespace' && !object) goneNamespaces.push(name)
      }
    }
    this.pods.judgePods(pods)
    return { services, goneNamespaces, nodes, pods: pods.found() }
  }
}
