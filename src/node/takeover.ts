/** Takes a node over from an agent that wrote its kernel layer with another backend. */

import type { KernelBackend } from '../kernel/backend.ts'
import { familiesOf } from '../kernel/family.ts'
import type { KernelLayer } from '../kernel/layer.ts'
import { takeOver } from '../kernel/takeover.ts'
import type { IpFamily } from '../net/address.ts'
import type { Log } from '../observe/log.ts'
import type { SyncHealth } from './health/synchealth.ts'

export interface TakeOverOptions {
  readonly backend: KernelBackend
  readonly families: readonly IpFamily[]
  readonly kernel: Pick<KernelLayer, 'settled'>
  readonly health: Pick<SyncHealth, 'lastSynced'>
  readonly log: Log
}

/** Only once this backend has written everything, so that nothing falls between. */
export async function takeOverNode({ backend, families, kernel, health, log }: TakeOverOptions): Promise<void> {
  await kernel.settled()
  if (health.lastSynced === undefined) return
  try {
    const removed = await takeOver(backend, familiesOf(families))
    if (removed.length > 0) log.info({ removed }, 'what an agent with another --proxy-mode left was removed')
  } catch (error) {
    log.warn({ error: (error as Error).message }, 'what an agent with another --proxy-mode may have left stays')
  }
}
