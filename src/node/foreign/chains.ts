/** Watches, while the agent runs, for base chains of others that drop what our rules need, and reports them by name. */

import { withNftables } from '../../kernel/nftables/client.ts'
import { type BlockingChains, blockingChains, isSuspect } from '../../kernel/nftables/foreign.ts'
import { watchForeignChains } from '../../kernel/nftables/watch.ts'
import { type Ruleset, tableFamilies } from '../../kernel/nftables/wire/dump.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { someOf } from '../../text/some.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

export interface ForeignChainsOptions {
  readonly nodeName: string
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

/** How long after a change to probe, since rules may come one by one; also the least time between two probes. */
const pauseMs = 1000
/** The interval where no change is reported. */
const everyMs = 300_000
/** The share of the time that probing may take while others change their rules all the time. */
const share = 0.05

export function watchBlockingChains({ nodeName, onProblems }: ForeignChainsOptions): { stop(): Promise<void> } {
  let restUntil = 0
  /** Something has changed since the last probe began. */
  let isStale = false
  const task = new PeriodicTask(async () => {
    isStale = false
    const began = performance.now()
    // A process that cannot read them cannot write ours either, which is reported.
    const chains = await readBlockingChains().catch(() => undefined)
    if (chains) onProblems('chains of others', blockingProblems(nodeName, chains))
    const restMs = Math.max(pauseMs, (performance.now() - began) / share)
    restUntil = performance.now() + restMs
    return isStale ? restMs : everyMs
  })
  // Without notifications, probes every few minutes.
  const endWatch = watchForeignChains(() => {
    if (!isStale && !task.isRunning) task.schedule(Math.max(pauseMs, restUntil - performance.now()))
    isStale = true
  })
  task.schedule(0)
  return {
    stop: async () => {
      endWatch()
      await task.stop()
    },
  }
}

function readBlockingChains(): Promise<BlockingChains> {
  return withNftables(undefined, async nft => {
    const rulesets: Ruleset[] = []
    for (const family of Object.values(tableFamilies)) rulesets.push(await nft.ruleset(family, isSuspect))
    return blockingChains(rulesets)
  })
}

function blockingProblems(nodeName: string, { closed, droppingBefore }: BlockingChains): readonly Problem[] {
  const problemsOf = (reason: string, chains: readonly string[], remedy: string) =>
    chains.length === 0 ? [] : [problem('LP407', `Node ${nodeName}`, `${reason}: ${someOf(chains)}`, remedy)]
  return [
    ...problemsOf(
      'chains of others drop before our rules see the packet',
      droppingBefore,
      'have them let through what is for addresses of Services, or give them a priority over -150',
    ),
    ...problemsOf(
      'chains of others drop every new connection',
      closed,
      'have them accept what pods send to addresses of Services and pods, and at input what goes to Envoy (docs/operations.md)',
    ),
  ]
}
