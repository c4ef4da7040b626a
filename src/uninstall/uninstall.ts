/**
 * Removes Lightpath from a cluster, in the order in which nothing is lost: no new Service is handed over, those that
 * exist go back to kube-proxy while the agents still serve them, Envoys end when their connections have, then the
 * agents, then Lightpath's rules in the kernel of every node, then the rest. It skips what is gone already, so that it
 * can be repeated.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Ask } from '../cluster/api.ts'
import { list } from '../cluster/list.ts'
import { isReady } from '../cluster/objects.ts'
import { conditionWriter, isHeldBack } from '../controlplane/reachability/podcondition.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawList, rawObject } from '../text/raw.ts'
import { findServices, move } from '../webhook/adopt.ts'
import { get, type Installation } from './found.ts'
import { cleanupNamespace, cleanupObjects, daemonSetPath, namespacePath, ourNamespace } from './objects.ts'

export interface UninstallOptions {
  /** The image with which the nodes are cleaned. */
  readonly image: string
  /** How long each node may take to be clean. */
  readonly timeoutMs: number
  /** Reports what is being done now, for people. */
  readonly say: (what: string) => void
}

export interface Uninstalled {
  /** In words, in the order in which it was done; empty where nothing was there but nodes. */
  readonly done: readonly string[]
  readonly cleanNodes: readonly string[]
  /** Nodes that are not known to be clean, and why. */
  readonly otherNodes: readonly { readonly name: string; readonly reason: string }[]
  /** Services that still have the label, and why. */
  readonly failedServices: readonly { readonly name: string; readonly reason: string }[]
}

/** Envoy's terminationGracePeriodSeconds, and a minute more. */
const envoysMs = 660e3
const agentsMs = 90e3
const namespaceMs = 30e3
/** kube-proxy may learn of a Service later than the agent does. */
const handOverMs = 10e3
const pollMs = 1000
/** How often to try a Service that others change at the same time. */
const tries = 5

export async function uninstall(ask: Ask, found: Installation, options: UninstallOptions): Promise<Uninstalled> {
  const done: string[] = []
  for (const path of found.admission) if (await remove(ask, path)) done.push(`removed ${shortOf(path)}`)
  const { moved, failedServices } = await handBack(ask, found, options)
  if (moved > 0) {
    done.push(`handed ${moved} Services back to kube-proxy`)
    if (found.agents) await sleep(handOverMs)
  }
  for (const [component, ms, what] of [
    ['proxy', envoysMs, 'the Envoys end when their connections have, which takes 10 minutes at most'],
    ['node', agentsMs, 'the agents end'],
  ] as const) {
    if (await remove(ask, daemonSetPath(ourNamespace, component))) done.push(`removed DaemonSet lightpath-${component}`)
    // Without agents only the cleanup of the nodes takes new connections off Envoys.
    if (component === 'node' || found.agents) await podsGone(ask, component, ms, () => options.say(what))
  }
  const nodes = await cleanNodes(ask, found, options)
  done.push(`cleaned ${nodes.cleanNodes.length} of ${found.nodes.length} nodes`)
  options.say('the rest is removed')
  for (const path of found.access) if (await remove(ask, path)) done.push(`removed ${shortOf(path)}`)
  const released = await releasePods(ask)
  if (released > 0) done.push(`said of ${released} Pods that they can be reached`)
  // The cleanup of nodes that are away goes on.
  for (const name of nodes.otherNodes.length > 0 ? [ourNamespace] : [ourNamespace, cleanupNamespace]) {
    if (!(await remove(ask, namespacePath(name)))) continue
    const isGone = await gone(ask, namespacePath(name))
    done.push(
      isGone ? `removed namespace ${name}` : `Kubernetes is removing namespace ${name}, which may take it minutes`,
    )
  }
  return { done, failedServices, ...nodes }
}

/**
 * Without a control plane, which has no right to write them any more, nobody else would find Pods reachable again; and
 * without the admission policy no gate would get its condition whose kubelet has not said a word yet.
 */
async function releasePods(ask: Ask): Promise<number> {
  const write = conditionWriter(ask)
  let released = 0
  for (let attempt = 0; attempt < tries; attempt++) {
    const found = (await list(ask, '/api/v1/pods')).filter(isHeldBack).map(({ metadata }) => rawObject(metadata))
    if (found.length === 0) break
    const results = found.map(({ namespace, name }) => write({ pod: `${namespace}/${name}`, exclusion: undefined }))
    released += (await Promise.allSettled(results)).filter(({ status }) => status === 'fulfilled').length
  }
  return released
}

/** Removes the object, and returns whether it was there. */
async function remove(ask: Ask, path: string): Promise<boolean> {
  if (!(await get(ask, path))) return false
  try {
    await ask('DELETE', path)
  } catch (error) {
    // 409: a namespace that is being deleted already.
    if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error
  }
  return true
}

/** `/apis/…/clusterroles/lightpath-node` → `clusterroles/lightpath-node` */
export function shortOf(path: string): string {
  return path.split('/').slice(-2).join('/')
}

async function handBack(ask: Ask, { services }: Installation, { say }: UninstallOptions) {
  if (services.length > 0) say(`${services.length} Services are handed back to kube-proxy`)
  const failures = new Map<string, string>()
  let moved = 0
  let left = services
  for (let attempt = 0; left.length > 0 && attempt < tries; attempt++) {
    failures.clear()
    for (const service of left) {
      try {
        await move(ask, 'back', service)
        moved++
      } catch (error) {
        failures.set(`${service.namespace}/${service.name}`, (error as Error).message)
      }
    }
    if (failures.size === 0) break
    left = (await findServices(ask, 'back')).filter(({ left }) => left === undefined)
  }
  return { moved, failedServices: [...failures].map(([name, reason]) => ({ name, reason })) }
}

async function podsGone(ask: Ask, component: string, ms: number, say: () => void): Promise<void> {
  const query = `labelSelector=${encodeURIComponent(`app.kubernetes.io/name=lightpath,app.kubernetes.io/component=${component}`)}`
  const left = () => list(ask, `${namespacePath(ourNamespace)}/pods`, query)
  let pods = await left()
  if (pods.length > 0) say()
  for (const deadline = Date.now() + ms; pods.length > 0; pods = await left()) {
    // A node that is away keeps its pod, which ends, if it runs at all, when the node is back.
    if (Date.now() > deadline) return
    await sleep(pollMs)
  }
}

/**
 * Whether it went in time: the controller of namespaces that had pods tries again after half of the time that those may
 * take to end.
 */
async function gone(ask: Ask, path: string): Promise<boolean> {
  for (const deadline = Date.now() + namespaceMs; await get(ask, path); await sleep(pollMs)) {
    if (Date.now() > deadline) return false
  }
  return true
}

async function cleanNodes(ask: Ask, found: Installation, { image, timeoutMs, say }: UninstallOptions) {
  say(`cleaning ${found.nodes.length} nodes with ${image}`)
  const objects = cleanupObjects(image)
  // An interrupted cleanup may have begun with another image.
  await remove(ask, daemonSetPath(cleanupNamespace, 'cleanup'))
  await create(ask, '/api/v1/namespaces', objects.namespace)
  const { metadata } = await create(ask, `/apis/apps/v1/namespaces/${cleanupNamespace}/daemonsets`, objects.daemonSet)
  const { uid } = rawObject(metadata)
  const clean = new Set<string>()
  const expected = found.nodes.filter(node => node.isReady)
  const deadline = Date.now() + timeoutMs
  let reasons: ReadonlyMap<string, string> = new Map()
  for (;;) {
    const pods = await list(ask, `${namespacePath(cleanupNamespace)}/pods`)
    const current = pods.filter(pod => ownerOf(pod) === uid)
    for (const pod of current.filter(isReady)) clean.add(String(rawObject(pod.spec).nodeName))
    reasons = new Map(current.map(pod => [String(rawObject(pod.spec).nodeName), whyWaiting(pod.status)]))
    if (expected.every(({ name }) => clean.has(name)) || Date.now() > deadline) break
    await sleep(pollMs)
  }
  const others = found.nodes.filter(({ name }) => !clean.has(name))
  const otherNodes = others.map(({ name, isReady }) => ({
    name,
    reason: isReady ? (reasons.get(name) ?? 'no pod of lightpath-cleanup has come') : 'the node is not ready',
  }))
  return { cleanNodes: [...clean].sort(), otherNodes }
}

/** Creates the object, and tries again while a namespace of the name is being deleted. */
async function create(ask: Ask, path: string, object: object): Promise<Raw> {
  for (const deadline = Date.now() + agentsMs; ; await sleep(pollMs)) {
    try {
      return await ask('POST', path, object)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const isThere = error.code === 409 && path.endsWith('/namespaces')
      if (isThere && !(await isGoing(ask))) return {}
      const isPassing = error.code === 409 || error.code === 403
      if (!isPassing || Date.now() > deadline) throw error
    }
  }
}

async function isGoing(ask: Ask): Promise<boolean> {
  const { metadata } = (await get(ask, namespacePath(cleanupNamespace))) ?? {}
  return rawObject(metadata).deletionTimestamp !== undefined
}

function ownerOf({ metadata }: Raw): unknown {
  return rawObject(rawList(rawObject(metadata).ownerReferences)[0]).uid
}

/** Says what the kubelet reports of the container that cleans. */
function whyWaiting(status: unknown): string {
  const { phase, initContainerStatuses } = rawObject(status)
  const { state, lastState } = rawObject(rawList(initContainerStatuses)[0])
  const { reason, message } = rawObject(rawObject(state).waiting)
  const { exitCode } = rawObject(rawObject(lastState).terminated)
  const failed = exitCode === undefined ? '' : `; lightpath cleanup ended with ${exitCode}, its log says why`
  return `${message ?? reason ?? `pod is ${phase}`}${failed}`
}
