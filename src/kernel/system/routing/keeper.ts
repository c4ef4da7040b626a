/**
 * Keeps the routing rule and route of each family: makes them, and restores them at once where somebody removes them.
 */

import type { Family } from '../../family.ts'
import type { KernelObserver } from '../../layer.ts'
import type { KernelPrograms } from '../../nftables/programs.ts'
import { commandProblem } from '../command.ts'

export class RoutingKeeper {
  readonly #families: readonly Family[]
  readonly #programs: Pick<KernelPrograms, 'ensureRouting' | 'watchRouting'>
  readonly #observer: KernelObserver
  readonly #onFailed: () => void
  /** Those whose rule and route were in place. */
  readonly #made = new Set<Family>()
  /** One at a time: two that add the same rule would both find it missing. */
  #last: Promise<unknown> = Promise.resolve()
  #stopWatching: (() => void) | undefined

  /** @param onFailed something is missing and could not be made again: it has to be tried by `ensure` */
  constructor(
    families: readonly Family[],
    programs: Pick<KernelPrograms, 'ensureRouting' | 'watchRouting'>,
    observer: KernelObserver,
    onFailed: () => void,
  ) {
    this.#families = families
    this.#programs = programs
    this.#observer = observer
    this.#onFailed = onFailed
  }

  /** Makes what is missing. Rejects with a CommandError where that fails. */
  async ensure(): Promise<void> {
    for (const family of this.#families) await this.#ensure(family)
  }

  watch(): void {
    const isOurs = (family: Family) => this.#families.includes(family)
    try {
      this.#stopWatching = this.#programs.watchRouting({
        // `ensure` makes what was never there.
        onLoss: family => void (this.#made.has(family) && this.#restore(family)),
        onForeignRule: family => void (isOurs(family) && this.#observer.foreignRules?.()),
      })
    } catch (error) {
      const remedy = 'our routing rule is looked at every few minutes only'
      this.#observer.problems?.('routing', [commandProblem('routing rules', error, remedy)])
    }
  }

  stop(): void {
    this.#stopWatching?.()
  }

  async #restore(family: Family): Promise<void> {
    await this.#ensure(family).catch(() => this.#onFailed())
  }

  #ensure(family: Family): Promise<void> {
    const next = this.#last.then(async () => {
      const wasMissing = await this.#programs.ensureRouting(family)
      if (wasMissing && this.#made.has(family)) this.#observer.drifted?.(`routing rule or route of ${family} is gone`)
      this.#made.add(family)
    })
    this.#last = next.catch(() => {})
    return next
  }
}
