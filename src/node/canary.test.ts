import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { waitFor } from '../demo/wait.ts'
import { type CanaryAnswer, startCanary } from './canary.ts'

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** What the canary says, one after another; `until` waits until it has said so much. */
function watch(port: number) {
  const said: CanaryAnswer[] = []
  const canary = startCanary({
    port,
    intervalMs: 10,
    timeoutMs: 300,
    misses: 2,
    recovery: 5,
    onChange: answer => said.push(answer),
  })
  const until = (count: number) => waitFor(`answer ${count} of the canary`, 20_000, () => said.length >= count)
  return { said, until, stop: () => canary.stop() }
}

describe('the canary', () => {
  test('says that Envoy answers, that it is gone, and that it is back', async () => {
    const server = createServer((_, response) => void response.end())
    const port = await listen(server)
    const { said, until, stop } = watch(port)
    await until(1)
    server.closeAllConnections()
    server.close()
    await until(2)
    server.listen(port, '127.0.0.1')
    await until(3)
    stop()
    server.close()
    assert.deepEqual(said, ['serving', 'refused', 'serving'])
  })
  test('says that Envoy is about to end', async () => {
    const server = createServer((_, response) => void response.writeHead(503).end())
    const { said, until, stop } = watch(await listen(server))
    await until(1)
    stop()
    server.close()
    assert.deepEqual(said, ['draining'])
  })
  test('says that Envoy is short of memory, which ends each connection, and takes a few good answers for its recovery', async () => {
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      if (asked === 2) response.setHeader('connection', 'close')
      response.end()
    })
    const { said, until, stop } = watch(await listen(server))
    await until(3)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'overloaded', 'serving'])
    assert.ok(asked >= 7, `${asked}`)
  })
  test('counts a process that accepts connections and does not answer as missed, but not after one miss', async () => {
    let asked = 0
    const isSilent = (request: number) => request === 2 || request >= 4
    const server = createServer((_, response) => {
      asked++
      if (!isSilent(asked)) response.end()
    })
    const { said, until, stop } = watch(await listen(server))
    await until(2)
    stop()
    server.closeAllConnections()
    server.close()
    assert.deepEqual(said, ['serving', 'missed'])
    assert.ok(asked >= 5, `${asked}`)
  })
})
