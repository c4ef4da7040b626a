/** Plays a script on a connection, for both of its ends. */

import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { messagesOf } from './http.ts'
import type { Step } from './input.ts'

export interface Line {
  readonly received: () => string
  /** How the other side has ended the connection. */
  readonly end: () => 'open' | 'fin' | 'reset'
  play(step: Step): Promise<void>
}

const longestWaitMs = 5000

export function lineOf(socket: Socket): Line {
  let received = ''
  let end: ReturnType<Line['end']> = 'open'
  /** How much of it requests were that a script waited for. */
  let taken = 0
  socket.setEncoding('latin1').setNoDelay()
  const ends = (how: typeof end) => () => {
    if (end === 'open') end = how
  }
  socket.on('data', (chunk: string) => {
    received += chunk
  })
  socket.on('end', ends('fin'))
  socket.on('error', ends('reset'))

  const waitFor = async (holds: () => boolean, limitMs = Number.POSITIVE_INFINITY) => {
    for (let waited = 0; !holds() && end === 'open' && !socket.destroyed && waited < limitMs; waited += 5)
      await sleep(5)
  }
  const untaken = () => received.slice(taken)

  const play = async (step: Step): Promise<void> => {
    if (typeof step === 'string') return void (socket.writable && socket.write(step, 'latin1'))
    if (typeof step === 'number') return sleep(step)
    switch (step.do) {
      case 'fin':
        return void socket.end()
      case 'reset':
        return void socket.resetAndDestroy()
      case 'until':
        return waitFor(() => received.includes(step.text), longestWaitMs)
      case 'head':
        await waitFor(() => untaken().includes('\r\n\r\n'))
        taken = received.indexOf('\r\n\r\n', taken) + 4
        return
      case 'bytes':
        await waitFor(() => untaken().length >= step.count)
        taken += step.count
        return
      case 'request': {
        await waitFor(() => messagesOf(untaken(), false, () => false)[0]?.isWhole ?? false)
        taken = received.length
      }
    }
  }
  return { received: () => received, end: () => end, play }
}
