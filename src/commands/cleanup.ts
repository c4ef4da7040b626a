import { existsSync, unlinkSync } from 'node:fs'
import { cleanupKernel } from '../kernel/cleanup.ts'
import { askAgent } from './agent.ts'
import type { Config } from './options.ts'

export async function cleanUp(config: Config): Promise<void> {
  const agent = await askAgent(config.socket, '/')
  if (agent.kind !== 'dead') {
    throw new Error(`an agent answers on ${config.socket} and would make it all again; stop it first`)
  }
  const removed = [...(await cleanupKernel({ routeTable: config.routeTable }))]
  if (existsSync(config.socket)) {
    unlinkSync(config.socket)
    removed.push(`socket ${config.socket}`)
  }
  const lines = removed.length > 0 ? removed.map(what => `removed ${what}`) : ['there was nothing to remove']
  process.stdout.write(`${lines.join('\n')}\n`)
}
