/**
 * Sends a request through Envoy and one through the kernel layer, from a pod on each node, to a Service that is made
 * for that.
 */

import type { Ask } from '../cluster/api.ts'
import { isReady } from '../cluster/objects.ts'
import { createPod, follow, inNamespaceOf, inTurns, runPod } from '../cluster/podpernode.ts'
import { rawList, rawObject } from '../text/raw.ts'
import { clientPod, namespace, serverPod, service, targetsOf } from './objects.ts'
import type { RequestResult } from './probe.ts'

export interface RequestOptions {
  readonly image: string
  /** The time-out for each pod. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

/** The results of a node's pod, or why there are none. */
export type NodeRequests = readonly RequestResult[] | { readonly error: string }

/**
 * Returns results by node. Throws ApiError where it may not ask; nothing is left of it then either.
 *
 * @param nodes the first is the one that answers
 */
export function requestsOf(
  ask: Ask,
  nodes: readonly string[],
  options: RequestOptions,
): Promise<ReadonlyMap<string, NodeRequests>> {
  const [first] = nodes
  if (first === undefined) return Promise.resolve(new Map())
  return inNamespaceOf(ask, namespace, async path => {
    const { spec } = await ask('POST', `${path}/services`, service)
    const targets = targetsOf(rawList(rawObject(spec).clusterIPs).map(String))
    const problem = await startServer(ask, path, first, options)
    if (problem !== undefined) return new Map(nodes.map(node => [node, { error: problem }]))
    const { image } = options
    const results = await inTurns(nodes, async (node): Promise<[string, NodeRequests]> => {
      const result = await runPod(ask, path, { ...options, node, pod: clientPod(node, image, targets) })
      return [node, 'error' in result ? result : requestsIn(result.log)]
    })
    return new Map(results)
  })
}

/** Waits until it is ready; else returns why it is not. */
async function startServer(
  ask: Ask,
  inNamespace: string,
  node: string,
  { image, timeoutMs, signal, onStep }: RequestOptions,
): Promise<string | undefined> {
  const deadline = Date.now() + timeoutMs
  const path = await createPod(ask, inNamespace, serverPod(node, image), deadline)
  const who = `the pod that answers, on node ${node}`
  const state = await follow(ask, path, {
    deadline,
    signal,
    onWait: why => onStep(`${who}: ${why}`),
    isThere: isReady,
  })
  switch (state.is) {
    case 'there':
      return undefined
    case 'ended':
      return `${who}, has ended`
    case 'failed':
      return `${who}, does not start: image ${image}: ${state.why}`
    case 'interrupted':
      return 'interrupted'
    default:
      return `${who}, is not ready within ${timeoutMs / 1000} s: ${state.why}`
  }
}

function requestsIn({ requests, message }: Readonly<Record<string, unknown>>): NodeRequests {
  if (Array.isArray(requests)) return requests as readonly RequestResult[]
  return { error: `its pod printed no report: ${String(message)}` }
}
