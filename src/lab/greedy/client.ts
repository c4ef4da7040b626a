/**
 * Runs a pod's part of the attack (objects.ts): a hundred requests whose headers never end, and requests with long
 * paths to a failing Service, forty a second and twenty at a time at most, until SIGTERM.
 */

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { failingVip } from './objects.ts'

// Together nearly as long as Envoy takes.
const unfinished = Array.from({ length: 15 }, (_, i) => `X-${i}: ${'y'.repeat(16_000)}\r\n`).join('')
// The first is as long as the pod takes, and so its failure is logged; the second as long as Envoy takes; it refuses the
// third.
const long = [12_000, 250_000, 900_000].map(
  length => `GET /${'p'.repeat(length)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
)

function send(text: string): Promise<void> {
  return new Promise(resolve => {
    const socket = connect(80, failingVip, () => socket.write(text))
    socket.on('error', () => undefined).on('close', () => resolve())
    socket.resume()
  })
}

for (let i = 0; i < 100; i++) void send(`GET / HTTP/1.1\r\nHost: a\r\n${unfinished}`)
const underWay = new Set<Promise<void>>()
for (let turn = 0; ; turn++) {
  const sent: Promise<void> = send(long[turn % long.length]!).finally(() => underWay.delete(sent))
  underWay.add(sent)
  await sleep(25)
  if (underWay.size === 20) await Promise.race(underWay)
}
