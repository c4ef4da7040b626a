import { existsSync, rmdirSync, unlinkSync } from 'node:fs'
import { socketPaths } from '../envoy/sockets.ts'
import { cleanupKernel } from '../kernel/cleanup.ts'
import { askAgent } from './agent.ts'
import type { Config } from './options.ts'
import { requireNetAdmin } from './privilege.ts'

export async function cleanUp(config: Config): Promise<void> {
  requireNetAdmin('cleanup')
  const agent = await askAgent(config.socket, '/')
  if (agent.kind !== 'dead') {
    throw new Error(`an agent answers on ${config.socket} and would make it all again; stop it first`)
  }
  const removed = [...(await cleanupKernel({ routeTable: config.routeTable }))]
  for (const socket of [config.socket, ...socketPaths(config.envoySockets)]) {
    if (!existsSync(socket)) continue
    unlinkSync(socket)
    removed.push(`socket ${socket}`)
  }
  removeIfEmpty(config.envoySockets)
  const lines = removed.length > 0 ? removed.map(what => `removed ${what}`) : ['there was nothing to remove']
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** What else is there is not ours. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // EBUSY: it is mounted, as in the pods of deploy/cleanup.
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes(code!)) throw error
  }
}
