/**
 * Calls each frontend (JSON on stdin) for the first time and again until it is connected: nothing answers behind the kernel
 * layer, so what connects is Envoy. Prints how long that took for each, in milliseconds.
 */

import { connect } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

interface Frontend {
  readonly ip: string
  readonly port: number
}

const everyMs = 20
const limitMs = 30_000

function connects({ ip, port }: Frontend): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(port, ip)
  const end = (connected: boolean) => {
    socket.destroy()
    resolve(connected)
  }
  socket.on('connect', () => end(true)).on('error', () => end(false))
  setTimeout(() => end(false), everyMs)
  return promise
}

const took: number[] = []
for (const frontend of (await json(process.stdin)) as readonly Frontend[]) {
  const began = performance.now()
  while (!(await connects(frontend))) {
    if (performance.now() - began > limitMs) throw new Error(`${frontend.ip}:${frontend.port} never came to Envoy`)
    await pause(everyMs)
  }
  took.push(performance.now() - began)
}
console.log(JSON.stringify(took))
