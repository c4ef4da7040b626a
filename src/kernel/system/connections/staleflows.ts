/** Removes stale flows beside the transactions, so that no transaction waits for a large conntrack table. */

import type { Problem } from '../../../services/problem.ts'
import type { KernelObserver } from '../../layer.ts'
import { Worker } from '../../sync/worker.ts'
import { commandProblem } from '../command.ts'
import type { Reconciliation, StaleFrontends } from './conntrack.ts'

const retryMs = 10e3

export class StaleFlows {
  readonly #remove: (frontends: StaleFrontends) => Promise<readonly Reconciliation[]>
  readonly #observer: KernelObserver
  readonly #worker: Worker
  /** The frontends still to be checked; at most all of UDP ports, and of those with an endpoint that is left out. */
  readonly #waiting: StaleFrontends = new Map()
  /** The pause after a failure. */
  #pause: NodeJS.Timeout | undefined

  constructor(remove: (frontends: StaleFrontends) => Promise<readonly Reconciliation[]>, observer: KernelObserver) {
    this.#remove = remove
    this.#observer = observer
    const job = {
      hasWork: () => this.#waiting.size > 0 && this.#pause === undefined,
      step: () => this.#step(),
      failed: (error: unknown) => {
        const remedy =
          'UDP clients with a fixed port, and connections that have begun, may wait for an endpoint that is gone until it works; tried again'
        this.#pause = setTimeout(() => this.#resume(), retryMs).unref()
        this.#report([commandProblem('conntrack entries that have gone stale', error, remedy)])
      },
    }
    this.#worker = new Worker(job, 0)
  }

  /** Adds frontends, once the kernel leads to their endpoints. */
  add(frontends: StaleFrontends): void {
    for (const [frontend, stale] of frontends) this.#waiting.set(frontend, stale)
    if (this.#waiting.size > 0) this.#resume()
  }

  #resume(): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#worker.schedule()
  }

  /** Resolves when nothing is left but what failed and waits for its next try. */
  settled(): Promise<void> {
    return this.#worker.settled()
  }

  close(): Promise<void> {
    clearTimeout(this.#pause)
    return this.#worker.close()
  }

  async #step(): Promise<void> {
    const frontends = new Map(this.#waiting)
    const reconciled = await this.#remove(frontends)
    this.#observer.reconciled?.(reconciled)
    for (const [frontend, stale] of frontends) {
      if (this.#waiting.get(frontend) === stale) this.#waiting.delete(frontend)
    }
    this.#report([])
  }

  #report(problems: readonly Problem[]): void {
    this.#observer.problems?.('conntrack', problems)
  }
}
