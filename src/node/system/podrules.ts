/**
 * Reports when pods of this node come under routing rules that applied to no pod before: what was proven for others
 * says nothing of them.
 */

import { podsByRules } from '../../kernel/system/routing/podrules.ts'
import type { IpFamily } from '../../net/address.ts'

export interface PodRulesOptions {
  /** The sets of rules that there are now; see `rulesFor`. */
  readonly read: () => Promise<Iterable<string>>
  readonly onNew: () => void
  /** How long changes are gathered. */
  readonly gatherMs: number
}

/** Reads them from the kernel. Rejects as `podsByRules` throws. */
export async function readPodRules(families: readonly IpFamily[], pods: readonly string[]): Promise<readonly string[]> {
  return families.flatMap(family => [...podsByRules(family, pods).keys()].map(key => `${family} ${key}`))
}

export class PodRules {
  readonly #options: PodRulesOptions
  readonly #seen = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #look: Promise<void> | undefined
  #isStopped = false

  constructor(options: PodRulesOptions) {
    this.#options = options
  }

  /** Pods or rules changed. */
  changed(): void {
    if (this.#isStopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#look = this.#compare(this.#look)
    }, this.#options.gatherMs)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#timer)
    await this.#look
  }

  async #compare(before: Promise<void> | undefined): Promise<void> {
    await before
    // If they cannot be read now, the next change reads them.
    const sets = await this.#options.read().catch(() => [])
    if (this.#isStopped) return
    const fresh = [...sets].filter(set => !this.#seen.has(set))
    for (const set of fresh) this.#seen.add(set)
    if (fresh.length > 0) this.#options.onNew()
  }
}
