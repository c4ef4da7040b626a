/** Connects to an endpoint, and says no more than whether that works. */

import { createConnection, type Socket } from 'node:net'
import type { Observation } from '../../exclusions/observation.ts'
import { ofHostPort } from '../../net/address.ts'

export type Reached = Extract<Observation['seen'], 'answers' | 'refused' | 'timed out' | 'slow'>

/** Linux sends a second SYN after a second, so each attempt has sent two by then. */
const patienceMs = 1500
/** An endpoint that answers has long done so by then. */
const againAfterMs = 300
/** The port for what is thrown away, on which hardly anything listens. */
const discardPort = 9

/** What the kernel says where nobody is there, by its codes. Other errors are of this node, and say nothing. */
const refusals = ['ECONNREFUSED', 'ECONNRESET']
/** The other attempt may still succeed. */
const unanswered = ['ETIMEDOUT', 'EHOSTUNREACH']

/**
 * Where an endpoint does not answer, it is tried a second time at once, so that only four lost packets in a row look like
 * an endpoint that is not there; and another port of its address is tried: a host that refuses or accepts that is alive. So
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
      clearTimeout(trying)
      for (const socket of sockets) socket.destroy()
      resolve(reached)
    }
    const timer = setTimeout(() => end(isAlive ? 'slow' : 'timed out'), patienceMs)
    const looksForLife = (reached: Reached | undefined) => {
      isAlive = reached === 'answers' || reached === 'refused'
    }
    const tryAgain = () => sockets.push(attempt(ip, port, end), attempt(ip, discardPort, looksForLife))
    const trying = setTimeout(tryAgain, againAfterMs)
    sockets.push(attempt(ip, port, end))
  })
}

function attempt(host: string, port: number, found: (reached: Reached | undefined) => void): Socket {
  const socket = createConnection({ host, port })
  socket.once('connect', () => found('answers'))
  socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => {
    if (!unanswered.includes(code)) found(refusals.includes(code) ? 'refused' : undefined)
  })
  return socket
}
