import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { waitFor } from '../../lab/wait.ts'
import { type CanaryAnswer, startCanary } from './canary.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-canary-'))
const path = join(directory, 'canary.sock')
after(() => rmSync(directory, { recursive: true }))

async function listen(server: Server): Promise<void> {
  server.listen(path)
  await once(server, 'listening')
}

/** What the canary reports, one after another; `until` waits until it has reported so many. */
function watch(users?: readonly number[], intervalMs = 10, suspectMs = 60_000) {
  const said: CanaryAnswer[] = []
  /** What happened to watches of Envoy's connections: each finds at once that these stand still. */
  const watches: string[] = []
  const canary = startCanary({
    socket: { path, users },
    intervalMs,
    startIntervalMs: 10,
    timeoutMs: 300,
    misses: 2,
    recovery: 5,
    onChange: answer => said.push(answer),
    suspectMs,
    watchStall: onStalled => {
      watches.push('started')
      onStalled()
      return { stop: () => watches.push('stopped') }
    },
  })
  const until = (count: number) => waitFor(`answer ${count} of the canary`, 20_000, () => said.length >= count)
  return { said, watches, until, stop: () => canary.stop() }
}

describe('the canary', () => {
  test('reports that Envoy answers, that it is gone, and that it is back', async () => {
    const server = createServer((_, response) => void response.end())
    await listen(server)
    const { said, until, stop } = watch()
    await until(1)
    server.closeAllConnections()
    server.close()
    await until(2)
    server.listen(path)
    await until(3)
    stop()
    server.close()
    assert.deepEqual(said, ['serving', 'refused', 'serving'])
  })
  test('reports soon that a starting Envoy serves', async () => {
    const server = createServer((_, response) => void response.end())
    const { said, until, stop } = watch(undefined, 60_000)
    await until(1)
    await listen(server)
    await until(2)
    stop()
    server.close()
    assert.deepEqual(said, ['refused', 'serving'])
  })
  test('reports that Envoy is about to end', async () => {
    const server = createServer((_, response) => void response.writeHead(503).end())
    await listen(server)
    const { said, until, stop } = watch()
    await until(1)
    stop()
    server.close()
    assert.deepEqual(said, ['draining'])
  })
  test('reports that Envoy is short of memory, which ends each connection, and takes a few good answers for its recovery', async () => {
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      if (asked === 2) response.setHeader('connection', 'close')
      response.end()
    })
    await listen(server)
    const { said, until, stop } = watch()
    await until(3)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'overloaded', 'serving'])
    assert.ok(asked >= 7, `${asked}`)
  })
  test('reports that Envoy is full, which closes connections without an answer, but not after one', async () => {
    let asked = 0
    const isFull = () => asked === 2 || (asked >= 4 && asked < 8)
    const server = createServer((_, response) => {
      asked++
      if (isFull()) response.destroy()
      else response.end()
    })
    await listen(server)
    const { said, until, stop } = watch()
    await until(3)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'full', 'serving'])
    assert.ok(asked >= 12, `${asked}`)
  })
  test('does not take an Envoy that hangs and then dies for a full one', async () => {
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      if (asked === 1) response.end()
      else if (asked === 5) {
        response.destroy()
        server.closeAllConnections()
        server.close()
      }
    })
    await listen(server)
    const { said, until, stop } = watch()
    await until(3)
    stop()
    assert.deepEqual(said, ['serving', 'missed', 'refused'])
  })
  test('does not believe a process of another user', async () => {
    const server = createServer((_, response) => void response.end())
    await listen(server)
    const { said, until, stop } = watch([process.geteuid!() + 1])
    await until(1)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['missed'])
  })
  test('counts a process that accepts connections without answering as missed, but not after one miss', async () => {
    let asked = 0
    const isSilent = (request: number) => request === 2 || request >= 4
    const server = createServer((_, response) => {
      asked++
      if (!isSilent(asked)) response.end()
    })
    await listen(server)
    const { said, until, stop } = watch()
    await until(2)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'missed'])
    assert.ok(asked >= 5, `${asked}`)
  })
  test('reports a hang at the first miss when the connections stand still, and that Envoy goes on', async () => {
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      if (asked !== 2) response.end()
    })
    await listen(server)
    const { said, watches, until, stop } = watch(undefined, 10, 100)
    await until(3)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'missed', 'serving'])
    assert.deepEqual(watches, ['started', 'stopped'])
  })
})
