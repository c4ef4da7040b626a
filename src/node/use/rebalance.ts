/**
 * Ends connections that began in the kernel layer when their port is promoted, if its owner wishes so (setting
 * rebalance).
 */

import { addressesOf, type Frontend } from '../../envoy/resources/frontend.ts'
import type { KernelLayer } from '../../kernel/layer.ts'
import type { Log } from '../../observe/log.ts'
import { type BelowOptions, endBelow } from './below.ts'

export interface RebalanceOptions extends BelowOptions {
  readonly kernel: Pick<KernelLayer, 'settled'>
  readonly log: Log
}

/** @param frontends just promoted */
export async function rebalance(frontends: readonly Frontend[], options: RebalanceOptions): Promise<void> {
  const wanted = frontends.filter(({ settings }) => settings.rebalance)
  if (wanted.length === 0) return
  const ports = wanted.map(({ id }) => id)
  // Clients connect again at once, and are to come to Envoy.
  await options.kernel.settled()
  try {
    const ended = await endBelow(wanted.flatMap(addressesOf), options)
    if (ended > 0) options.log.info({ ports, ended }, 'connections of the kernel layer ended: the port came to Envoy')
  } catch (error) {
    options.log.warn({ ports, reason: (error as Error).message }, 'connections of the kernel layer stay there')
  }
}
