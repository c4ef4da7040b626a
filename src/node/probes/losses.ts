/**
 * Reports when something may take packets on their way to Envoy: the ruleset's counters do not add up, or others have
 * changed their rules, which shows losses that ours do not see. A test of the path then finds out.
 */

import { type Family, familyNames } from '../../kernel/family.ts'
import { Nftables } from '../../kernel/nftables/client.ts'
import { pathCounters } from '../../kernel/nftables/rules/chains.ts'
import { tableOf } from '../../kernel/nftables/rules/ruleset.ts'
import { watchForeignChains } from '../../kernel/nftables/watch.ts'
import type { IpFamily } from '../../net/address.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'
import { type PathCounters, suspicion } from './counters.ts'

export interface LossesOptions {
  readonly families: readonly IpFamily[]
  readonly onSuspicion: (family: IpFamily, why: string) => void
}

/** A client repeats after a second (RFC 6298), and a test takes 0.7 s: so soon the path is known to be shut. */
const everyMs = 250
/** Each reading is compared with the one so many readings ago: rare packets seldom come twice within one interval. */
const looksBack = 2
/** Rules that are made one by one may be complete by then. */
const settleMs = 200
/** A suspicion that a test does not confirm, such as a policy for single pods, costs a test so often at most. */
const countedRestMs = 10_000
/** Others may change their rules all the time. */
const changedRestMs = 30_000

export function watchLosses({ families, onSuspicion }: LossesOptions): { stop(): Promise<void> } {
  const nft = new Nftables()
  /** The last few readings of each family, the oldest first. */
  const looked = new Map<IpFamily, readonly PathCounters[]>()
  const restUntil = new Map<IpFamily, number>()
  const probe = async (family: IpFamily) => {
    const counters = await readCounters(nft, familyNames[family])
    const before = looked.get(family) ?? []
    looked.set(family, counters ? [...before, counters].slice(-looksBack) : [])
    const why = before[0] && counters && suspicion(before[0], counters)
    if (why === undefined || performance.now() < (restUntil.get(family) ?? 0)) return
    restUntil.set(family, performance.now() + countedRestMs)
    onSuspicion(family, why)
  }
  const task = new PeriodicTask(async () => {
    // A process that cannot read them cannot write the tables either, which is reported.
    for (const family of families) await probe(family).catch(() => looked.delete(family))
    return everyMs
  })
  const stopListening = listen(() => {
    for (const family of families) onSuspicion(family, 'others have changed their rules')
  })
  task.schedule(everyMs)
  return {
    stop: async () => {
      stopListening()
      await task.stop()
      nft.close()
    },
  }
}

/** Undefined where the table is missing, or is another version's. */
async function readCounters(nft: Nftables, family: Family): Promise<PathCounters | undefined> {
  const found = await nft.counters(tableOf(family))
  const [redirected, reached, repeated] = pathCounters.map(name => found.get(name))
  if (redirected === undefined || reached === undefined || repeated === undefined) return undefined
  return { redirected, reached, repeated }
}

/** Without notifications there are still the counters. */
function listen(onChange: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let restUntil = 0
  const changed = () => {
    timer ??= setTimeout(
      () => {
        timer = undefined
        restUntil = performance.now() + changedRestMs
        onChange()
      },
      Math.max(settleMs, restUntil - performance.now()),
    )
  }
  const stop = watchForeignChains(changed)
  return () => {
    stop()
    clearTimeout(timer)
  }
}
