import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { startCanary } from './canary.ts'

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** What the canary says, one after another. */
function watch(port: number) {
  const said: boolean[] = []
  let heard = Promise.withResolvers<void>()
  const canary = startCanary({
    port,
    intervalMs: 10,
    timeoutMs: 50,
    misses: 2,
    onChange: answers => {
      said.push(answers)
      heard.resolve()
      heard = Promise.withResolvers()
    },
  })
  return { said, next: () => heard.promise, stop: () => canary.stop() }
}

describe('the canary', () => {
  test('says that Envoy answers, that it is gone, and that it is back', async () => {
    const server = createServer((_, response) => void response.end())
    const port = await listen(server)
    const { said, next, stop } = watch(port)
    await next()
    server.closeAllConnections()
    server.close()
    await next()
    server.listen(port, '127.0.0.1')
    await next()
    assert.deepEqual(said, [true, false, true])
    stop()
    server.close()
  })
  test('counts a process that accepts connections and does not answer as dead, but not after one miss', async () => {
    let asked = 0
    const silent = new Set([2, 4, 5])
    const server = createServer((_, response) => {
      asked++
      if (!silent.has(asked)) response.end()
    })
    const { said, next, stop } = watch(await listen(server))
    await next()
    await next()
    assert.deepEqual(said, [true, false])
    assert.equal(asked, 5)
    stop()
    server.closeAllConnections()
    server.close()
  })
})
