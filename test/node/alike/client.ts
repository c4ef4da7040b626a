/** Plays the clients of all inputs at once, by one way, and prints what they and the servers saw. */

import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressOf, type Way } from './addresses.ts'
import type { Input } from './input.ts'
import { lineOf } from './play.ts'

export interface Seen {
  readonly received: string
  readonly end: 'open' | 'fin' | 'reset'
  /** Of each connection of the server. */
  readonly served: readonly string[]
}

/** Without a byte for so long nothing more is to come. */
const quietMs = 1500

const [, , file = '', way, server] = process.argv
const inputs = JSON.parse(readFileSync(file, 'utf8')) as readonly Input[]

async function play({ client }: Input, index: number): Promise<Omit<Seen, 'served'>> {
  const socket = connect({ host: addressOf(way as Way, index), port: 80, allowHalfOpen: true })
  const line = lineOf(socket)
  await new Promise<void>(resolve => socket.once('connect', resolve).once('error', () => resolve()))
  for (const step of client) await line.play(step)
  let before = -1
  while (line.end() === 'open' && !socket.destroyed && before < line.received().length) {
    before = line.received().length
    for (let waited = 0; waited < quietMs && line.end() === 'open'; waited += 50) await sleep(50)
  }
  const seen = { received: line.received(), end: line.end() }
  // What this end does now is no part of the input.
  setTimeout(() => socket.destroy(), 500)
  return seen
}

const seen = await Promise.all(inputs.map(play))
const answer = await fetch(`http://${server}:1999/`)
const served = (await answer.json()) as readonly (readonly string[])[]
process.stdout.write(JSON.stringify(seen.map((one, index): Seen => ({ ...one, served: served[index]! }))))
