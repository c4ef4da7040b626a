/** Connects to an endpoint, and says no more than whether that works. */

import { createConnection } from 'node:net'
import type { Observation } from '../../exclusions/observation.ts'
import { ofHostPort } from '../../net/address.ts'

export type Reached = Extract<Observation['seen'], 'answers' | 'refused' | 'timed out'>

/** Linux sends a second SYN after a second: one that is lost is no time-out. */
const patienceMs = 1300

/** What the kernel says where nobody is there, by its codes. Other errors are of this node, and say nothing. */
const failures: Readonly<Record<string, Reached>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'refused',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'timed out',
}

/** @param endpoint as `hostPort` writes it */
export function connectTo(endpoint: string): Promise<Reached | undefined> {
  const { ip: host, port } = ofHostPort(endpoint)
  return new Promise(resolve => {
    const socket = createConnection({ host, port })
    const end = (reached: Reached | undefined) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(reached)
    }
    const timer = setTimeout(() => end('timed out'), patienceMs)
    socket.once('connect', () => end('answers'))
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => end(failures[code]))
  })
}
