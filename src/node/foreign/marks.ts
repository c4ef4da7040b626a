/**
 * Watches, while the agent runs, for rules of others that use our marks: a CNI plugin or a VPN may come long after the
 * agent, and what it does with the mark happens to Envoy's connections.
 */

import { type Problem, problem } from '../../services/problem.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

export interface ForeignMarksOptions {
  readonly nodeName: string
  /** Rules and routing rules of others that use our marks, in words. */
  readonly read: () => Promise<readonly string[]>
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  /** The time until the first probe, and the least time between two. */
  readonly firstMs?: number
  readonly everyMs?: number
}

/** The share of the time that probing may take. */
const share = 0.005
const named = 3

export function watchForeignMarks(options: ForeignMarksOptions): { stop(): Promise<void> } {
  const { nodeName, read, onProblems, firstMs = 5000, everyMs = 300_000 } = options
  const task = new PeriodicTask(async () => {
    const began = performance.now()
    // A process that cannot read them cannot write ours either, which is reported.
    const uses = await read().catch(() => undefined)
    if (uses) onProblems('marks of others', usesProblems(nodeName, uses))
    return Math.max(everyMs, (performance.now() - began) / share)
  })
  task.schedule(firstMs)
  return task
}

function usesProblems(nodeName: string, uses: readonly string[]): readonly Problem[] {
  if (uses.length === 0) return []
  const rest = uses.length > named ? ` and ${uses.length - named} more` : ''
  const reason = `others use our marks: ${uses.slice(0, named).join('; ')}${rest}`
  const remedy =
    'choose bits that nobody has, for agent and bootstrap: --steering-mark, --envoy-mark (docs/operations.md)'
  return [problem('LP406', `Node ${nodeName}`, reason, remedy)]
}
