/** Connects the watch of the path from pods to this node's Envoy with what it probes and reports to. */

import { type PathResult, type PathTestOptions, testPath } from '../../kernel/probes/pathtest.ts'
import type { IpFamily } from '../../net/address.ts'
import type { Log } from '../../observe/log.ts'
import type { NodePlan } from '../../plan/nodeplan.ts'
import { type Problem, problem } from '../../services/problem.ts'
import type { EnvoyLayer } from '../envoy/envoylayer.ts'
import { PathWatch } from './watch.ts'

export interface PathOptions extends Pick<PathTestOptions, 'steeringMark'> {
  readonly nodeName: string
  readonly redirectPort: number
  readonly settleMs: number
  readonly envoy: Pick<EnvoyLayer, 'listening' | 'setPath'>
  /** Addresses that may be of pods of this node. */
  readonly pods: () => readonly string[]
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  readonly log: Log
}

const times = { failures: 2, betweenMs: 500, blockedMs: 10_000, openMs: 300_000 }

export function watchPath({ settleMs, envoy, pods, log, onProblems, ...options }: PathOptions): PathWatch {
  const { nodeName, steeringMark, redirectPort: targetPort } = options
  return new PathWatch({
    settleMs,
    ...times,
    test: (family, timeoutMs) => testPath({ family, steeringMark, targetPort, pods: pods(), timeoutMs }),
    listening: () => envoy.listening,
    onResult: (family, result) => {
      envoy.setPath(family, result.outcome === 'open')
      onProblems(`path ${family}`, pathProblems(nodeName, family, result))
      if (result.outcome === 'open') log.info({ family, from: result.by }, 'connections of pods reach Envoy')
    },
  })
}

/** Where the source has no Pods, their endpoints are all that is known of them. */
export function localPods(nodeName: string, plan: NodePlan): readonly string[] {
  const pods = plan.policies.addresses()
  if (pods.length > 0) return pods
  const endpoints = [...plan.states()].flatMap(state => state.endpoints)
  return [...new Set(endpoints.filter(endpoint => endpoint.nodeName === nodeName).map(({ ip }) => ip))]
}

function pathProblems(node: string, family: IpFamily, result: PathResult): readonly Problem[] {
  if (result.outcome !== 'blocked') return []
  const by = result.by === '' ? '' : ` (tested from ${result.by})`
  const reason = `${family} connections of pods do not reach Envoy: ${result.reason}${by}`
  const remedy =
    'the kernel layer serves them all, and it is tested again; firewall and CNI have to let it pass (docs/operations.md)'
  return [problem('LP402', `Node ${node}`, reason, remedy)]
}
