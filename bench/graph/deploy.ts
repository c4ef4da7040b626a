/** A service graph in the namespaces of a bed: on each node that has a proxy all its pods, and for each variant Services of its own. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Pod } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import type { Bed } from '../lab/bed.ts'
import { startBenchServer } from '../lab/programs.ts'
import { type ProxyKind, slug, type VariantId, variant } from '../lab/variants.ts'
import { entranceOf, type Graph, serverFlags } from './graph.ts'

const port = 8080

/** For clients of one variant. */
export interface Entrance {
  readonly client: Pod
  readonly url: string
  readonly servers: readonly Child[]
  /** The pods of the service that clients call. */
  readonly entrance: readonly Pod[]
}

/** By variant and service, what callers call. */
type Targets = Record<string, Record<string, readonly string[]>>

export async function deployGraph(
  bed: Bed,
  graph: Graph,
  scenario: string,
  ids: readonly VariantId[],
): Promise<ReadonlyMap<VariantId, Entrance>> {
  const entrances = new Map<VariantId, Entrance>()
  for (const [proxy, its] of Map.groupBy(ids, id => variant(id).proxy)) {
    const pods = await addPods(bed, graph, proxy)
    const targets: Targets = {}
    for (const id of its) targets[id] = await addServices(bed, graph, id, pods)
    const file = join(bed.network.directory, `targets-${proxy}.json`)
    writeFileSync(file, JSON.stringify(targets))
    const servers = await Promise.all(
      [...pods].flatMap(([name, replicas]) =>
        replicas.map(pod =>
          startBenchServer(bed.network, pod, { targets: file, ...serverFlags(graph, scenario, name) }),
        ),
      ),
    )
    const client = await bed.addClient({ proxy })
    for (const id of its) {
      for (const addresses of Object.values(targets[id]!))
        for (const address of addresses) await bed.untilServed(variant(id), client, address)
      const entrance = entranceOf(graph)
      const url = `http://${targets[id]![entrance]![0]}/`
      entrances.set(id, { client, url, servers, entrance: pods.get(entrance)! })
    }
  }
  return entrances
}

async function addPods(bed: Bed, graph: Graph, proxy: ProxyKind): Promise<ReadonlyMap<string, readonly Pod[]>> {
  const node = bed.proxied({ proxy }).node.name
  const pods = new Map<string, readonly Pod[]>()
  for (const [name, { replicas = graph.replicas }] of Object.entries(graph.services)) {
    const names = Array.from({ length: replicas }, (_, index) => `${name}-${proxy}-${index + 1}`)
    pods.set(name, await bed.addPods(node, names))
  }
  return pods
}

async function addServices(
  bed: Bed,
  graph: Graph,
  id: VariantId,
  pods: ReadonlyMap<string, readonly Pod[]>,
): Promise<Record<string, readonly string[]>> {
  const services: Record<string, readonly string[]> = {}
  for (const name of Object.keys(graph.services)) {
    const endpoints = pods.get(name)!.map(({ ip }) => ({ ip, port }))
    services[name] = await bed.addService(variant(id), `${slug(id)}-${name}`, endpoints)
  }
  return services
}
