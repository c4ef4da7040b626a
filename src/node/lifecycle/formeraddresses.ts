/**
 * Ends connections to addresses that no frontend has any more: each with its next answer, or when it had no request for
 * its quiet time; TCP connections have the drain time.
 */

import type { Changes, PublishedFrontends } from './published.ts'

export interface FormerAddressesOptions {
  readonly published: PublishedFrontends
  readonly drainMs: number
  readonly update: (collect: (changes: Changes) => void) => void
}

export class FormerAddresses {
  readonly #options: FormerAddressesOptions
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(options: FormerAddressesOptions) {
    this.#options = options
  }

  /** @param quietMs after so long without a request no HTTP connection is left */
  add(address: string, quietMs: number): void {
    const { published, drainMs, update } = this.#options
    clearTimeout(this.#timers.get(address))
    const forgetCluster = () => {
      this.#timers.delete(address)
      update(changes => published.forgetFormerCluster(address, changes))
    }
    const forgetRoutes = () => {
      this.#timers.set(address, setTimeout(forgetCluster, drainMs - quietMs))
      update(changes => published.forgetFormerRoutes(address, changes))
    }
    this.#timers.set(address, setTimeout(forgetRoutes, quietMs))
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }
}
