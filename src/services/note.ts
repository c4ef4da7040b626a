/** A message for the owner of an object, as a Kubernetes Event on it. */

import { formatProblem, type Problem } from './problem.ts'

export interface Note {
  /** `Service whoami/whoami`, `Node node1`. */
  readonly object: string
  readonly type: 'Normal' | 'Warning'
  /** In CamelCase, for programs. */
  readonly reason: string
  readonly message: string
  /**
   * Reported by the first node that finds it, or by each node, and not again while that Event is kept; else each time.
   */
  readonly once?: 'cluster' | 'node'
}

/**
 * Makes the note of a problem. Every node finds what is wrong with an object itself; what Envoy, the kernel or a port
 * rejects is a node's own.
 */
export function noteOf(problem: Problem): Note {
  const { object, code } = problem
  const isOfObject = code < 'LP3'
  return {
    object,
    type: 'Warning',
    reason: reasonOf(problem),
    message: formatProblem(problem),
    once: isOfObject ? 'cluster' : 'node',
  }
}

function reasonOf({ code, object }: Problem): string {
  if (code === 'LP206') return 'PortMisnamed'
  if (code === 'LP211') return 'VIPTaken'
  if (code === 'LP301') return 'RefusedByEnvoy'
  if (code === 'LP306') return 'AccessLogCut'
  if (code === 'LP308') return 'RequestsEndedByClients'
  if (code === 'LP309') return 'AnswersRefusedByEnvoy'
  if (code === 'LP401') return 'RefusedByKernel'
  if (code === 'LP402') return 'PathToEnvoyBlocked'
  if (code === 'LP403') return 'KernelSettingRefused'
  if (code === 'LP406') return 'MarksOfOthers'
  if (code === 'LP407') return 'ChainsOfOthers'
  if (code === 'LP408') return 'OverlayOff'
  if (code === 'LP404') return 'ExternalAddressNotServed'
  // The reason that kube-proxy gives, too.
  if (code === 'LP502') return 'FailedToStartServiceHealthcheck'
  if (code.startsWith('LP20')) return 'InvalidSetting'
  return `Invalid${object.split(' ', 1)[0]}`
}
