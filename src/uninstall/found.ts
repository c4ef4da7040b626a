/** Finds the parts of an installation, whichever of them are gone. It only reads. */

import type { Ask } from '../cluster/api.ts'
import { list } from '../cluster/list.ts'
import { imageOf, isReady, nameOf, scopeOf } from '../cluster/objects.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawList, rawObject } from '../text/raw.ts'
import { type Found as FoundService, findServices } from '../webhook/adopt.ts'
import {
  accessObjects,
  admissionObjects,
  cleanupNamespace,
  daemonSetPath,
  namespacePath,
  ourNamespace,
} from './objects.ts'

export interface Installation {
  /** By the paths of the API. */
  readonly admission: readonly string[]
  readonly access: readonly string[]
  readonly hasNamespace: boolean
  /** A former cleanup that waits for nodes, or was interrupted. */
  readonly hasCleanup: boolean
  readonly agents: boolean
  readonly envoys: boolean
  /** Those that have our label. */
  readonly services: readonly FoundService[]
  /** The agents serve all Services: there need be no kube-proxy. */
  readonly servesAll: boolean
  /** Linux nodes without a pod of a kube-proxy. */
  readonly withoutKubeProxy: readonly string[]
  /** The image of this command that nodes have; undefined where none is found. */
  readonly image: string | undefined
  readonly nodes: readonly NodeFound[]
}

export interface NodeFound {
  readonly name: string
  readonly isReady: boolean
}

/** Reads an object; undefined where there is none, also where the API does not know the kind. */
export async function get(ask: Ask, path: string): Promise<Raw | undefined> {
  try {
    return await ask('GET', path)
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined
    throw error
  }
}

export async function findInstallation(ask: Ask): Promise<Installation> {
  const there = async (paths: readonly string[]) => {
    const found: string[] = []
    for (const path of paths) if (await get(ask, path)) found.push(path)
    return found
  }
  const agents = await get(ask, daemonSetPath(ourNamespace, 'node'))
  const nodes = await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')
  const kubeProxies = await list(ask, '/api/v1/pods', 'labelSelector=k8s-app%3Dkube-proxy')
  const withKubeProxy = new Set(kubeProxies.map(({ spec }) => rawObject(spec).nodeName))
  const services = await findServices(ask, 'back')
  return {
    admission: await there(admissionObjects),
    access: await there(accessObjects),
    hasNamespace: (await get(ask, namespacePath(ourNamespace))) !== undefined,
    hasCleanup: (await get(ask, namespacePath(cleanupNamespace))) !== undefined,
    agents: agents !== undefined,
    envoys: (await get(ask, daemonSetPath(ourNamespace, 'proxy'))) !== undefined,
    services: services.filter(({ left }) => left === undefined),
    servesAll: agents !== undefined && scopeOf(agents) === 'all',
    withoutKubeProxy: nodes.map(nameOf).filter(name => !withKubeProxy.has(name)),
    image: (agents && imageOf(agents)) ?? imageOnNodes(nodes),
    nodes: nodes.map(node => ({ name: nameOf(node), isReady: isReady(node) })),
  }
}

/** Finds the image that most nodes have, as the kubelet reports; of those alike the last by name. */
export function imageOnNodes(nodes: readonly Raw[]): string | undefined {
  const counts = new Map<string, number>()
  for (const { status } of nodes) {
    const names = rawList(rawObject(status).images).flatMap(image => rawList(rawObject(image).names).map(String))
    for (const name of new Set(names)) {
      if (/(^|\/)lightpath:[^@]+$/.test(name)) counts.set(name, (counts.get(name) ?? 0) + 1)
    }
  }
  const most = Math.max(...counts.values())
  return [...counts.keys()]
    .filter(name => counts.get(name) === most)
    .sort()
    .at(-1)
}
