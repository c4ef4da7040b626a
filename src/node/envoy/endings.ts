/**
 * Ends what Envoy has open with pods that policies select, once the kernel lets nothing new of Envoy's through to them.
 */

import type { KernelLayer } from '../../kernel/layer.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import { type EnvoySockets, endConnections, type Unwanted } from '../../kernel/system/connections/endconnections.ts'
import type { Log } from '../../observe/log.ts'
import type { PolicyFacts } from '../../plan/policies.ts'

export interface EndingsOptions extends EnvoySockets {
  readonly kernel: Pick<KernelLayer, 'settled'>
  readonly log: Log
}

export class Endings {
  readonly #options: EndingsOptions
  #known: Required<Pick<Unwanted, 'clients' | 'endpoints'>> = { clients: new Set(), endpoints: new Set() }

  constructor(options: EndingsOptions) {
    this.#options = options
  }

  /** The kernel has these pods now: connections with those that were not among them end. */
  async hold({ clients, endpoints }: PolicyFacts): Promise<void> {
    const before = this.#known
    this.#known = { clients: new Set(clients), endpoints: new Set(endpoints) }
    const added = {
      clients: new Set(clients.filter(ip => !before.clients.has(ip))),
      endpoints: new Set(endpoints.filter(ip => !before.endpoints.has(ip))),
    }
    if (added.clients.size + added.endpoints.size === 0) return
    await this.#options.kernel.settled()
    this.#end(added)
  }

  /** These frontends have no endpoint left that Envoy may connect to, while the kernel layer has some. */
  cut(frontends: readonly VipPort[]): void {
    this.#end({ frontends })
  }

  /** Where the kernel cannot end a connection, our rules end it with its next packet. */
  #end(unwanted: Unwanted): void {
    const { log } = this.#options
    try {
      const ended = endConnections(unwanted, this.#options)
      if (ended > 0) log.info({ ended }, 'connections through Envoy ended: a policy selects a pod at one end')
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'connections through Envoy end with their next packet')
    }
  }
}
