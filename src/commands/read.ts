/** Reads a source for commands. */

import { NodePlan } from '../plan/nodeplan.ts'
import type { ExternalObstacles } from '../plan/ports/layer.ts'
import type { ServiceScope } from '../plan/ports/scope.ts'
import { ClusterFacts } from '../services/clusterfacts.ts'
import type { Change } from '../services/objects/objects.ts'
import { formatProblem, type Problem } from '../services/problem.ts'
import type { Source } from '../sources/source.ts'

/** How long the API server may be silent, in milliseconds: users of commands wait. */
export const patientlyMs = 5000

/** Goes on changing while the source is followed. */
export interface Reading {
  readonly facts: ClusterFacts
  readonly plan: NodePlan
  /** Returns the current problems. */
  problems(): readonly Problem[]
}

export interface FollowOptions {
  readonly scope?: ServiceScope
  /** The node's obstacles to external traffic. Default: none. */
  readonly obstacles?: ExternalObstacles
  /** `--cluster-cidr`. Default: none. */
  readonly clusterCidr?: readonly string[]
  /** Problems with which there is no use in waiting. */
  readonly fatal: readonly Problem['code'][]
  /** How long it may take until everything is known. Default: as long as it takes. */
  readonly timeoutMs?: number
}

/**
 * Follows a source until it is stopped; resolves when everything is known. Rejects where it cannot be read, with the
 * reason.
 */
export async function followSource(source: Source, nodeName: string, options: FollowOptions): Promise<Reading> {
  const { scope, obstacles, clusterCidr = [], fatal, timeoutMs } = options
  const facts = new ClusterFacts({ tellsPods: source.needPods !== undefined, podRanges: clusterCidr })
  const plan = new NodePlan(facts, { name: nodeName, scope, obstacles })
  const problems = new Map<string, readonly Problem[]>()
  let latest: Problem | undefined
  const { promise: synced, resolve, reject } = Promise.withResolvers<void>()
  const tooLong = () => {
    const reason = `the source has not told all Services within ${timeoutMs! / 1000} s`
    reject(new Error(latest ? formatProblem(latest) : reason))
  }
  const timer = timeoutMs === undefined ? undefined : setTimeout(tooLong, timeoutMs)
  const listener = {
    changes: (changes: readonly Change[]) => {
      for (const [origin, found] of plan.apply(facts.apply(changes)).problems) problems.set(origin, found)
      source.needPods?.(plan.podNamespaces)
    },
    problems: (origin: string, found: readonly Problem[]) => {
      problems.set(origin, found)
      latest = found.at(-1) ?? latest
      const missing = found.find(({ code }) => fatal.includes(code))
      // Its remedy is for a source that goes on.
      if (missing) reject(new Error(`${missing.code} ${missing.object}: ${missing.reason}`))
    },
    synced: resolve,
  }
  source.start(listener).catch(reject)
  await synced.finally(() => clearTimeout(timer))
  return { facts, plan, problems: () => [...problems.values()].flat() }
}

/** Returns what a source has now. Rejects where it cannot be read. */
export function readOnce(
  source: Source,
  nodeName: string,
  options: Pick<FollowOptions, 'scope' | 'obstacles' | 'clusterCidr'>,
): Promise<Reading> {
  return followSource(source, nodeName, { ...options, fatal: ['LP104', 'LP105'] }).finally(() => source.stop())
}
