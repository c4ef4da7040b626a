/**
 * Whether pods of this node reach Envoy, for each IP family: tested when Envoy listens, before anything is steered to
 * it, and again now and then, so that a node heals when its firewall does, and falls back when it does not let it any
 * more.
 */

import type { PathResult } from '../../kernel/probes/pathtest.ts'
import type { IpFamily } from '../../net/address.ts'
import { PeriodicTask } from '../periodictask.ts'

/** `untested`: not yet; `assumed`: it is not tested on this node, by its configuration, and counts as open. */
export type PathState = PathResult | { readonly outcome: 'untested' } | { readonly outcome: 'assumed' }

export interface PathWatchOptions {
  /** One family at a time: where one cannot be tested, that says nothing of the other. Rejects then. */
  readonly test: (family: IpFamily, timeoutMs?: number) => Promise<PathResult>
  /** The families that Envoy listens for; a test of another says nothing. */
  readonly listening: () => readonly IpFamily[]
  /** What is known of a family now; for the first time, and whenever the outcome or its reason changed. */
  readonly onResult: (family: IpFamily, result: PathResult) => void
  /** How long an acknowledged listener may take to be in all workers of Envoy. */
  readonly settleMs: number
  /** Failures in a row until the path counts as blocked, and how long between them. */
  readonly failures: number
  readonly betweenMs: number
  /** From a test to the next where all is open; where something is blocked from `blockedMs`, doubled each time, up to this. */
  readonly openMs: number
  readonly blockedMs: number
}

/** What is lost already is not waited for as long as what may come. */
const suspectedMs = 700

export class PathWatch {
  readonly #options: PathWatchOptions
  readonly #results = new Map<IpFamily, PathResult>()
  /** Failures in a row of families that do not count as blocked yet. */
  readonly #failures = new Map<IpFamily, number>()
  readonly #tests = new PeriodicTask(() => this.#run())
  #blockedTests = 0
  /** Families of which something else than a test says that packets are lost: one failure is enough, and comes soon. */
  readonly #suspected = new Set<IpFamily>()
  /** A pod came during the test that runs. */
  #isStale = false

  constructor(options: PathWatchOptions) {
    this.#options = options
  }

  /** Envoy began to listen, or it ceased to. */
  listeningChanged(): void {
    const untested = this.#options.listening().some(family => !this.#results.has(family))
    if (untested && !this.#tests.isRunning) this.#tests.schedule(this.#options.settleMs)
  }

  /**
   * Pods have come that others say nothing of: the first ones, since a CNI may have rules for the interfaces of pods, and
   * those under other routing rules.
   */
  podsDiffer(): void {
    if (this.#tests.isRunning) this.#isStale = true
    else if (this.#results.size > 0) this.#tests.schedule(this.#options.settleMs)
  }

  /** Packets of pods seem to be lost since the last test. */
  suspect(family: IpFamily): void {
    if (this.#results.get(family)?.outcome !== 'open') return
    this.#suspected.add(family)
    if (!this.#tests.isRunning) this.#tests.schedule(0)
  }

  /** Undefined as long as nothing is known. */
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
      // What was tested while Envoy went away says nothing.
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
