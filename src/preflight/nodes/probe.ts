/**
 * Runs `lightpath preflight` on all nodes of a cluster, before anything is installed: a pod on each, in a namespace of
 * its own that is removed in the end, also where it is interrupted.
 */

import type { Ask } from '../../cluster/api.ts'
import { list } from '../../cluster/list.ts'
import { isReady, nameOf } from '../../cluster/objects.ts'
import { inNamespaceOf, inTurns, runPod } from '../../cluster/podpernode.ts'
import type { Raw } from '../../text/raw.ts'
import type { Check } from '../check.ts'
import { checksIn, namespace, podFor } from './pod.ts'

export interface ProbeOptions {
  readonly image: string
  /** Flags of `lightpath preflight` on each node. */
  readonly flags: readonly string[]
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Reports what is waited for. */
  readonly onStep: (step: string) => void
}

/** Either what the node's pod found, or why it could not check. */
export type NodeReport =
  | { readonly node: string; readonly checks: readonly Check[] }
  | { readonly node: string; readonly error: string }

/**
 * Probes all Linux nodes, in order of their names. Throws ApiError where it may not; nothing is left of it then either.
 */
export async function probeNodes(ask: Ask, options: ProbeOptions): Promise<readonly NodeReport[]> {
  const nodes = await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')
  const reports = await inNamespaceOf(ask, namespace, path =>
    inTurns(nodes, node => probeNode(ask, path, node, options)),
  )
  return reports.sort((a, b) => (a.node < b.node ? -1 : 1))
}

async function probeNode(ask: Ask, inNamespace: string, object: Raw, options: ProbeOptions): Promise<NodeReport> {
  const node = nameOf(object)
  if (!isReady(object)) return { node, error: 'the node is not ready' }
  const { image, flags } = options
  const result = await runPod(ask, inNamespace, { ...options, node, pod: podFor(node, image, flags) })
  if ('error' in result) return { node, error: result.error }
  const checks = checksIn(result.log)
  return checks ? { node, checks } : { node, error: `it printed no report: ${String(result.log.message)}` }
}
