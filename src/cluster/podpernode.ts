/** Pods that look at one node each: started, waited for, and read what they printed. */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Raw, rawObject } from '../text/raw.ts'
import type { Ask } from './api.ts'
import { type PodState, stateOf } from './podstate.ts'

export interface PodRun {
  /** For messages. */
  readonly node: string
  readonly pod: object
  readonly image: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Told what is waited for. */
  readonly onStep: (step: string) => void
}

/** What the pod printed, as JSON; or why it did not. */
export type PodResult = { readonly log: Raw } | { readonly error: string }

const pollMs = 500
/** What the API server is asked at once. */
const together = 16

/** Works in a namespace made of this manifest, of which nothing is left in the end. What went wrong first is thrown. */
export async function inNamespaceOf<T>(
  ask: Ask,
  manifest: object,
  work: (path: string, name: string) => Promise<T>,
): Promise<T> {
  const made = await ask('POST', '/api/v1/namespaces', manifest)
  const name = String(rawObject(made.metadata).name)
  const path = `/api/v1/namespaces/${name}`
  const [done, removed] = [await settled(work(path, name)), await settled(ask('DELETE', path))]
  if (done.status === 'rejected') throw done.reason
  if (removed.status === 'rejected') throw removed.reason
  return done.value
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  return (await Promise.allSettled([promise]))[0]
}

/** Until the pod has ended, whatever its exit code. */
export async function runPod(ask: Ask, inNamespace: string, run: PodRun): Promise<PodResult> {
  const { node, image, timeoutMs, signal, onStep } = run
  if (signal.aborted) return { error: 'interrupted' }
  const deadline = Date.now() + timeoutMs
  const path = await createPod(ask, inNamespace, run.pod, deadline)
  const state = await follow(ask, path, { deadline, signal, onWait: why => onStep(`node ${node}: ${why}`) })
  switch (state.is) {
    case 'failed':
      return { error: `image ${image}: ${state.why}` }
    case 'interrupted':
      return { error: 'interrupted' }
    case 'waits':
      return { error: `nothing within ${timeoutMs / 1000} s: ${state.why}` }
    default:
      return { log: await ask('GET', `${path}/log`) }
  }
}

export interface Following {
  /** By `Date.now()`. */
  readonly deadline: number
  readonly signal: AbortSignal
  /** Told why the pod is not further. */
  readonly onWait: (why: string) => void
  /** Default: it is never there, but ends. */
  readonly isThere?: (pod: Raw) => boolean
}

/** Until the pod is there, has ended or will not start; at the deadline it waits still. */
export async function follow(
  ask: Ask,
  path: string,
  { deadline, signal, onWait, isThere = () => false }: Following,
): Promise<PodState | { readonly is: 'there' | 'interrupted' }> {
  for (;;) {
    const pod = await ask('GET', path)
    if (isThere(pod)) return { is: 'there' }
    const state = stateOf(pod)
    if (state.is !== 'waits') return state
    if (signal.aborted) return { is: 'interrupted' }
    if (Date.now() > deadline) return state
    onWait(state.why)
    await sleep(pollMs, undefined, { signal }).catch(() => {})
  }
}

/** The path of the pod that was made. A new namespace has its service account a moment later, without which it takes no pods. */
export async function createPod(ask: Ask, inNamespace: string, pod: object, deadline: number): Promise<string> {
  for (;;) {
    try {
      const made = await ask('POST', `${inNamespace}/pods`, pod)
      return `${inNamespace}/pods/${String(rawObject(made.metadata).name)}`
    } catch (error) {
      const isEarly = (error as Error).message.includes('serviceaccount "default" not found')
      if (!isEarly || Date.now() > deadline) throw error
      await sleep(pollMs)
    }
  }
}

export async function inTurns<T, R>(all: readonly T[], each: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let at = 0; at < all.length; at += together) {
    results.push(...(await Promise.all(all.slice(at, at + together).map(each))))
  }
  return results
}
