import { cleanupKernel } from '../kernel/cleanup.ts'
import type { Config } from './options.ts'

export async function cleanUp(config: Config): Promise<void> {
  const removed = await cleanupKernel({ routeTable: config.routeTable })
  const lines = removed.length > 0 ? removed.map(what => `removed ${what}`) : ['there was nothing to remove']
  process.stdout.write(`${lines.join('\n')}\n`)
}
