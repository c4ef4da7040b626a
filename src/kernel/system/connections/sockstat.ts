/** Counts the TCP sockets of this process's network namespace. */

import { readFile } from 'node:fs/promises'

/**
 * Counts those in use, listening ones among them, without those that wait for the end of TIME_WAIT.
 * Rejects where /proc/net cannot be read.
 */
export async function countTcpSockets(): Promise<number> {
  return (
    inUse(await readFile('/proc/net/sockstat', 'utf8')) +
    inUse(await readFile('/proc/net/sockstat6', 'utf8').catch(() => ''))
  )
}

function inUse(text: string): number {
  const [, count = '0'] = /^TCP6?: inuse (\d+)/m.exec(text) ?? []
  return Number(count)
}
