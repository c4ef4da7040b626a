/** A client's FIN at a Service port: the module in native/, in the stock Envoy on loopback. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { readActivity } from '../../../src/envoy/program/admin.ts'
import { type RunningEnvoy, serve, servicePort } from '../envoy/envoy.ts'

const run = promisify(execFile)

let server: Server
const ends: (() => unknown)[] = []
let port: number
let envoy: RunningEnvoy

/** Of the endpoint: the first lines of the requests that it got, and those that it answered. */
const seen: string[] = []

before(async () => {
  server = await startEndpoint()
  const endpoint = server.address()
  assert.ok(endpoint !== null && typeof endpoint === 'object')
  const state = await servicePort('web', 'http', [endpoint.port], { idleTimeout: 60_000 })
  envoy = await serve({ after: end => void ends.unshift(end) }, [state])
  port = state.port.port
})

after(async () => {
  for (const end of ends) await end()
  server?.close()
})

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
const answers = (text: string) => text.match(/^(?:HTTP\S+ \d+ .*|you asked .*)$/gm) ?? []
const ok = (path: string, length = 0) => ['HTTP/1.1 200 OK', `you asked ${path} ${length}`]

test('a GET and the FIN with it are answered, and the connection ends', async () => {
  for (let n = 0; n < 60; n++) assert.deepEqual(answers(await exchange(get('/one'))), ok('/one'))
})

test('a POST that is written and closed arrives whole, and is answered', async () => {
  const body = 'x'.repeat(300_000)
  const request = `POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  assert.deepEqual(answers(await exchange(request)), ok('/whole', body.length))
})

test('an answer that takes a second reaches a client that has sent its FIN', async () => {
  assert.deepEqual(answers(await exchange(get('/slow'))), ok('/slow'))
})

test('each of 200 requests that came in one go with the FIN is answered, in order', async () => {
  const paths = Array.from({ length: 200 }, (_, n) => `/pipelined-${n}`)
  assert.deepEqual(
    answers(await exchange(paths.map(path => get(path)).join(''))),
    paths.flatMap(path => ok(path)),
  )
})

test('connections that end just as they are looked at again keep no worker of Envoy from the others', async () => {
  const cut = 'POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf'
  const client = async () => {
    for (let n = 0; n < 100; n++) await exchange(get('/one') + cut, 'at once')
  }
  await Promise.all(Array.from({ length: 8 }, client))
  await until(async () => (await connections()) === 0)
})

test('a request that the FIN cuts short is no request: nobody answers it, and the connection ends', async () => {
  const started = seen.length
  const cut = 'POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf'
  const chunks = 'POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'
  for (const part of ['', 'GET /half HT', cut, chunks]) assert.deepEqual(answers(await exchange(part)), [])
  assert.deepEqual(answers(await exchange(get('/slow') + cut)), ok('/slow'))
  assert.ok(!seen.slice(started).some(line => line.startsWith('answered POST')))
})

test('a client that is gone while it waits ends with its answer, and its connection in Envoy with it', async () => {
  await until(async () => (await connections()) === 0)
  const client = connect(port, '127.0.0.1')
  client.write(get('/slow?gone'))
  await until(() => seen.includes('GET /slow?gone'))
  assert.equal(await connections(), 1)
  client.destroy()
  await until(() => seen.includes('answered GET /slow?gone'))
  await until(async () => (await connections()) === 0)
})

test('an endpoint hears within seconds of a client that has given up, and a slow answer that goes on is waited for', async () => {
  const [gone, slow] = [connect(port, '127.0.0.1'), exchange(get('/drips'))]
  gone.end(get('/never'))
  await until(() => seen.includes('GET /never'))
  await until(() => seen.includes('gone from GET /never'))
  assert.match(await slow, /^HTTP\S+ 200 OK.*\n12\n/s)
})

test('a tunnel goes on when one of its sides has ended', async () => {
  const text = await exchange('GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nping')
  assert.ok(text.endsWith('the end of "ping"'), text)
})

test('a connection without a FIN goes on after its answer', async () => {
  const client = connect(port, '127.0.0.1')
  let text = ''
  client.on('data', data => (text += data))
  for (const path of ['/kept-1', '/kept-2']) {
    client.write(get(path))
    await until(() => text.includes(`you asked ${path} `))
  }
  client.destroy()
})

test('the module is built for the ABI of this Envoy', () => {
  assert.doesNotMatch(envoy.output(), /Dynamic module ABI version/)
})

test('random connections, streams and FINs, under AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-native-'))
  t.after(() => rm(directory, { recursive: true }))
  const harness = join(directory, 'harness')
  await run(join(import.meta.dirname, '../../../native/test/build'), ['halfclose', harness])
  const seed = process.env.LIGHTPATH_SEED ?? String(Date.now() % 1_000_000)
  await assert.doesNotReject(run(harness, [seed, '300000']), `seed ${seed}`)
})

/**
 * Writes and sends a FIN. Envoy stands still until that is done, or does not: a client that is kept from running between its
 * handshake and its first bytes may be reset then (native/detection.c).
 * @return what came until the connection's end
 */
async function exchange(bytes: string, reads: 'afterwards' | 'at once' = 'afterwards'): Promise<string> {
  if (reads === 'afterwards') process.kill(envoy.pid, 'SIGSTOP')
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  client.on('data', data => (text += data))
  try {
    try {
      await once(client, 'connect')
      client.end(bytes)
      // More than there is room for goes when Envoy reads.
      if (reads === 'afterwards') await Promise.race([once(client, 'finish'), sleep(100)])
    } finally {
      process.kill(envoy.pid, 'SIGCONT')
    }
    await once(client, 'end', { signal: AbortSignal.timeout(60_000) })
  } catch (error) {
    // One that has sent no whole first line is reset before it gets to any filter of HTTP.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  } finally {
    client.destroy()
  }
  return text
}

/** Of clients, open in Envoy. */
async function connections(): Promise<number> {
  const activity = await readActivity([envoy.admin])
  assert.ok(activity)
  return activity.connections(`127.0.0.1:${port}`)
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 60_000 / 25, holds.toString())
    await sleep(25)
  }
}

/**
 * Answers requests; those to /slow after a second, to /drips a number a second for twelve seconds, to /never not at all. A tunnel is
 * answered when its client has ended its side.
 */
async function startEndpoint(): Promise<Server> {
  const endpoint = createServer(async (request, response) => {
    const { method = '', url = '' } = request
    seen.push(`${method} ${url}`)
    if (url === '/never') return void request.socket.on('close', () => seen.push(`gone from ${method} ${url}`))
    if (url === '/drips') {
      for (let n = 1; n <= 12; n++) {
        response.write(`${n}\n`)
        await sleep(1000)
      }
      return void response.end()
    }
    let length = 0
    request.on('data', data => (length += data.length))
    request.on('end', async () => {
      if (url.startsWith('/slow')) await sleep(1000)
      seen.push(`answered ${method} ${url}`)
      response.end(`you asked ${url} ${length}\n`)
    })
  })
  endpoint.on('upgrade', (_, socket, head) => {
    let text = head.toString()
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    socket.on('data', data => (text += data)).on('end', () => socket.end(`the end of "${text}"`))
  })
  await new Promise<void>(resolve => endpoint.listen(0, '127.0.0.1', resolve))
  return endpoint
}
