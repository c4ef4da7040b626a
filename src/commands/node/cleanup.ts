import { existsSync, rmdirSync, unlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { socketPaths } from '../../envoy/program/sockets.ts'
import { cleanupKernel } from '../../kernel/cleanup.ts'
import { isListening } from '../../kernel/system/connections/listening.ts'
import { switchAllOff } from '../../kernel/takeover.ts'
import { redirectPortsOf } from '../../net/redirectports.ts'
import { misnamedFiles } from '../../node/misnamed/memory.ts'
import { askAgent } from '../agent.ts'
import type { Config } from '../options.ts'
import { requireNetAdmin } from '../privilege.ts'

/** As long as an ending Envoy waits for its connections (terminationGracePeriodSeconds), and a minute more. */
const envoyMs = 660e3
const pollMs = 1000

/** @param afterEnvoy waits for an ending Envoy in place of cutting its connections: new ones take the kernel layer */
export async function cleanUp(config: Config, afterEnvoy: boolean): Promise<void> {
  requireNetAdmin('cleanup')
  const agent = await askAgent(config.socket, '/')
  if (agent.kind !== 'dead') {
    throw new Error(`an agent answers on ${config.socket} and would make it all again; stop it first`)
  }
  if (afterEnvoy) await letEnvoyEnd(config)
  const removed = [...(await cleanupKernel({ routeTable: config.routeTable }))]
  for (const socket of [config.socket, ...socketPaths(config.envoySockets)]) {
    if (!existsSync(socket)) continue
    unlinkSync(socket)
    removed.push(`socket ${socket}`)
  }
  for (const misnamed of misnamedFiles(config.envoySockets)) {
    if (!existsSync(misnamed)) continue
    unlinkSync(misnamed)
    removed.push(misnamed)
  }
  removeIfEmpty(config.envoySockets)
  const lines = removed.length > 0 ? removed.map(what => `removed ${what}`) : ['there was nothing to remove']
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function letEnvoyEnd({ redirectPort }: Config): Promise<void> {
  await switchAllOff()
  for (const deadline = Date.now() + envoyMs; Date.now() < deadline; await sleep(pollMs)) {
    const listening = await Promise.all(redirectPortsOf(redirectPort).map(port => isListening(port)))
    if (!listening.includes(true)) return
  }
}

/** Anything else that is there is not ours. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // EBUSY: it is mounted, as in the pods of deploy/cleanup.
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes(code!)) throw error
  }
}
