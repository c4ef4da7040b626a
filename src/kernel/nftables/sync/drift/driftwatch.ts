/**
 * Runs the periodic work of our tables: the heartbeat, and checks for drift, at once where the kernel reports a change.
 */

import type { Family } from '../../../family.ts'
import type { KernelObserver } from '../../../layer.ts'
import type { KernelOptions } from '../../../options.ts'
import { repeat } from '../../../sync/repeat.ts'
import { commandProblem } from '../../../system/command.ts'
import { heartbeatInterval } from '../../heartbeat.ts'
import type { KernelPrograms } from '../../programs.ts'
import type { ForeignChange } from '../../watch.ts'

export interface PeriodicWork {
  /** Checks whether the tables are there. */
  presence(): Promise<void>
  /** Compares all that they have with all that was written. */
  comparison(): Promise<void>
  heartbeat(): Promise<void>
}

/** Starts the work; returns what ends it. */
export function watchDrift(
  families: readonly Family[],
  options: Pick<KernelOptions, 'abandonAfter' | 'comparisonMs' | 'comparisonShare' | 'presenceMs'>,
  work: PeriodicWork,
  programs: Pick<KernelPrograms, 'watchTables'>,
  observer: KernelObserver,
): () => void {
  const { comparisonMs = 300e3, comparisonShare = 0.01, presenceMs = 30e3 } = options
  const looks = repeat(() => work.presence(), presenceMs, 0.1)
  const comparisons = repeat(() => work.comparison(), comparisonMs, comparisonShare)
  const heartbeats = repeat(() => work.heartbeat(), heartbeatInterval(options.abandonAfter), 0.1)
  const onForeign = (changed: ForeignChange) => (changed === 'contents' ? comparisons : looks).soon()
  const stopListening = listen(families, onForeign, programs, observer)
  return () => {
    stopListening()
    looks.stop()
    comparisons.stop()
    heartbeats.stop()
  }
}

function listen(
  families: readonly Family[],
  onForeign: (changed: ForeignChange) => void,
  programs: Pick<KernelPrograms, 'watchTables'>,
  observer: KernelObserver,
): () => void {
  try {
    return programs.watchTables(families, onForeign)
  } catch (error) {
    const remedy = 'our tables are looked at every half minute, and compared every few'
    observer.problems?.('tables', [commandProblem('nf_tables', error, remedy)])
    return () => {}
  }
}
