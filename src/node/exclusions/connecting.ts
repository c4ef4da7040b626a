/** Connects to an endpoint, and says no more than whether that works. */

import { createConnection, type Socket } from 'node:net'
import type { Observation } from '../../exclusions/observation.ts'
import { ofHostPort } from '../../net/address.ts'

export type Reached = Extract<Observation['seen'], 'answers' | 'refused' | 'timed out' | 'slow'>

/** Linux sends a second SYN after a second: one that is lost is no time-out. */
const patienceMs = 1300
/** An endpoint that answers has long done so by then. */
const lifeAfterMs = 300
/** The port for what is thrown away, on which hardly anything listens. */
const discardPort = 9

/** What the kernel says where nobody is there, by its codes. Other errors are of this node, and say nothing. */
const failures: Readonly<Record<string, Reached>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'refused',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'timed out',
}

/**
 * Where an endpoint does not answer, another port of its address is tried: a host that refuses or accepts that is alive. So
 * the endpoint has a full backlog, whose SYNs Linux drops without a word, and is slow; not dead.
 *
 * @param endpoint as `hostPort` writes it
 */
export function connectTo(endpoint: string): Promise<Reached | undefined> {
  const { ip, port } = ofHostPort(endpoint)
  return new Promise(resolve => {
    const sockets: Socket[] = []
    let isAlive = false
    const end = (reached: Reached | undefined) => {
      clearTimeout(timer)
      clearTimeout(looking)
      for (const socket of sockets) socket.destroy()
      resolve(reached)
    }
    const timer = setTimeout(() => end(isAlive ? 'slow' : 'timed out'), patienceMs)
    const looksForLife = (reached: Reached | undefined) => {
      isAlive = reached === 'answers' || reached === 'refused'
    }
    const looking = setTimeout(() => sockets.push(attempt(ip, discardPort, looksForLife)), lifeAfterMs)
    sockets.push(attempt(ip, port, end))
  })
}

function attempt(host: string, port: number, found: (reached: Reached | undefined) => void): Socket {
  const socket = createConnection({ host, port })
  socket.once('connect', () => found('answers'))
  socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => found(failures[code]))
  return socket
}
