/**
 * Watches for each IP family whether pods of this node reach Envoy. The path is tested when Envoy listens, before
 * anything is redirected, and again now and then. So a node promotes again when its firewall heals, and falls back when
 * the firewall closes.
 */

import type { PathResult } from '../../kernel/probes/pathtest.ts'
import type { IpFamily } from '../../net/address.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

/** `untested`: not yet; `assumed`: it is not tested on this node, by its configuration, and counts as open. */
export type PathState = PathResult | { readonly outcome: 'untested' } | { readonly outcome: 'assumed' }

export interface PathWatchOptions {
  /** Tests one family, since one that cannot be tested says nothing of the other. Rejects where it cannot. */
  readonly test: (family: IpFamily, timeoutMs?: number) => Promise<PathResult>
  /** The families for which Envoy listens; a test of another means nothing. */
  readonly listening: () => readonly IpFamily[]
  /** Called with a family's result for the first time, and whenever the outcome or its reason changes. */
  readonly onResult: (family: IpFamily, result: PathResult) => void
  /** How long Envoy may take until an acknowledged listener is in all its workers. */
  readonly settleMs: number
  /** Failures in a row until the path counts as blocked, and the time between them. */
  readonly failures: number
  readonly betweenMs: number
  /** From a test to the next while all is open; after a block from `blockedMs`, doubled each time, up to this. */
  readonly openMs: number
  readonly blockedMs: number
}

/** A shorter time-out where packets already seem to be lost. */
const suspectedMs = 700

export class PathWatch {
  readonly #options: PathWatchOptions
  readonly #results = new Map<IpFamily, PathResult>()
  /** Failures in a row of families that do not count as blocked yet. */
  readonly #failures = new Map<IpFamily, number>()
  readonly #tests = new PeriodicTask(() => this.#run())
  #blockedTests = 0
  /** Families where something else than a test suggests losses: one failure is enough, and is sought soon. */
  readonly #suspected = new Set<IpFamily>()
  /** A pod came during the running test. */
  #isStale = false

  constructor(options: PathWatchOptions) {
    this.#options = options
  }

  /** Envoy began or ceased to listen. */
  listeningChanged(): void {
    const untested = this.#options.listening().some(family => !this.#results.has(family))
    if (untested && !this.#tests.isRunning) this.#tests.schedule(this.#options.settleMs)
  }

  /**
   * Tests again for pods that no test covers yet: the first ones, since a CNI may have rules for the interfaces of
   * pods, and those under other routing rules.
   */
  podsDiffer(): void {
    if (this.#tests.isRunning) this.#isStale = true
    else if (this.#results.size > 0) this.#tests.schedule(this.#options.settleMs)
  }

  /** Packets of pods seem to have been lost since the last test. */
  suspect(family: IpFamily): void {
    if (this.#results.get(family)?.outcome !== 'open') return
    this.#suspected.add(family)
    if (!this.#tests.isRunning) this.#tests.schedule(0)
  }

  /** The last result; undefined as long as there is none. */
  result(family: IpFamily): PathResult | undefined {
    return this.#results.get(family)
  }

  stop(): Promise<void> {
    return this.#tests.stop()
  }

  async #run(): Promise<number> {
    await this.#test()
    return this.#pauseMs()
  }

  #pauseMs(): number {
    const { betweenMs, blockedMs, openMs, settleMs, listening } = this.#options
    const isStale = this.#isStale
    this.#isStale = false
    if (this.#suspected.size > 0) return 0
    if (this.#failures.size > 0) return betweenMs
    if (isStale) return settleMs
    if (listening().some(family => !this.#results.has(family))) return settleMs
    const isBlocked = [...this.#results.values()].some(({ outcome }) => outcome === 'blocked')
    this.#blockedTests = isBlocked ? this.#blockedTests + 1 : 0
    return isBlocked ? Math.min(blockedMs * 2 ** (this.#blockedTests - 1), openMs) : openMs
  }

  async #test(): Promise<void> {
    const families = this.#options.listening()
    if (families.length === 0) {
      this.#suspected.clear()
      this.#failures.clear()
      return
    }
    for (const family of families) {
      const isSuspected = this.#suspected.delete(family)
      const test = isSuspected ? this.#options.test(family, suspectedMs) : this.#options.test(family)
      const result = await test.catch((error: Error) => {
        return { outcome: 'blocked', by: '', reason: `it cannot be tested: ${error.message}` } as const
      })
      // A test during which Envoy went away means nothing.
      if (this.#options.listening().includes(family))
        this.#take(family, result, isSuspected ? 1 : this.#options.failures)
    }
  }

  #take(family: IpFamily, result: PathResult, enough: number): void {
    const before = this.#results.get(family)
    const failures = (this.#failures.get(family) ?? 0) + 1
    if (result.outcome === 'blocked' && before?.outcome !== 'blocked' && failures < enough) {
      this.#failures.set(family, failures)
      return
    }
    this.#failures.delete(family)
    this.#results.set(family, result)
    if (JSON.stringify(before) !== JSON.stringify(result)) this.#options.onResult(family, result)
  }
}
