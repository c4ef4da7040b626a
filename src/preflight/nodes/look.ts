/**
 * `lightpath preflight` on all nodes of a cluster, before anything is installed: a pod on each, in a namespace of its own that
 * is removed in the end, also where it is interrupted.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Raw, rawList, rawObject } from '../../services/raw.ts'
import type { Ask } from '../../webhook/api.ts'
import { list } from '../../webhook/list.ts'
import type { Check } from '../check.ts'
import { checksIn, namespace, podFor, stateOf } from './pod.ts'

export interface LookOptions {
  readonly image: string
  /** Of `lightpath preflight` on each node. */
  readonly flags: readonly string[]
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Told what is waited for. */
  readonly onStep: (step: string) => void
}

/** Either what the node's pod found, or why it could not look. */
export type NodeReport =
  | { readonly node: string; readonly checks: readonly Check[] }
  | { readonly node: string; readonly error: string }

const pollMs = 500
/** What the API server is asked at once. */
const together = 16

/** Of all Linux nodes, in order of their names. Throws ApiError where it may not; nothing is left of it then either. */
export async function lookAtNodes(ask: Ask, options: LookOptions): Promise<readonly NodeReport[]> {
  const nodes = await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')
  const made = await ask('POST', '/api/v1/namespaces', namespace)
  const inNamespace = `/api/v1/namespaces/${String(rawObject(made.metadata).name)}`
  const looked = inTurns(nodes, node => lookAt(ask, inNamespace, node, options))
  // What went wrong before is told first.
  const [reports, removed] = [await settled(looked), await settled(ask('DELETE', inNamespace))]
  if (reports.status === 'rejected') throw reports.reason
  if (removed.status === 'rejected') throw removed.reason
  return reports.value.sort((a, b) => (a.node < b.node ? -1 : 1))
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  return (await Promise.allSettled([promise]))[0]
}

async function lookAt(ask: Ask, inNamespace: string, node: Raw, options: LookOptions): Promise<NodeReport> {
  const name = String(rawObject(node.metadata).name)
  const { image, flags, timeoutMs, signal, onStep } = options
  if (signal.aborted) return { node: name, error: 'interrupted' }
  if (!isReady(node)) return { node: name, error: 'the node is not ready' }
  const deadline = Date.now() + timeoutMs
  const made = await createPod(ask, `${inNamespace}/pods`, podFor(name, image, flags), deadline)
  const path = `${inNamespace}/pods/${String(rawObject(made.metadata).name)}`
  for (;;) {
    const state = stateOf(await ask('GET', path))
    if (state.is === 'ended') break
    if (state.is === 'failed') return { node: name, error: `image ${image}: ${state.why}` }
    if (signal.aborted) return { node: name, error: 'interrupted' }
    if (Date.now() > deadline) return { node: name, error: `nothing within ${timeoutMs / 1000} s: ${state.why}` }
    onStep(`node ${name}: ${state.why}`)
    await sleep(pollMs, undefined, { signal }).catch(() => {})
  }
  const log = await ask('GET', `${path}/log`)
  const checks = checksIn(log)
  return checks ? { node: name, checks } : { node: name, error: `it printed no report: ${String(log.message)}` }
}

/** A new namespace has its service account a moment later, without which it takes no pods. */
async function createPod(ask: Ask, path: string, pod: object, deadline: number): Promise<Raw> {
  for (;;) {
    try {
      return await ask('POST', path, pod)
    } catch (error) {
      const isEarly = (error as Error).message.includes('serviceaccount "default" not found')
      if (!isEarly || Date.now() > deadline) throw error
      await sleep(pollMs)
    }
  }
}

async function inTurns<T, R>(all: readonly T[], each: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let at = 0; at < all.length; at += together) {
    results.push(...(await Promise.all(all.slice(at, at + together).map(each))))
  }
  return results
}

function isReady({ status }: Raw): boolean {
  return rawList(rawObject(status).conditions)
    .map(rawObject)
    .some(({ type, status }) => type === 'Ready' && status === 'True')
}
