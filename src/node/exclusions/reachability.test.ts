import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer } from 'node:net'
import { test } from 'node:test'
import type { Sight } from '../../facts/failures.ts'
import { hostPort } from '../../net/address.ts'
import { until } from '../../sources/testing.ts'
import { connectTo, type Reached } from './connecting.ts'
import { Reachability } from './reachability.ts'

const endpoint = '10.244.1.1:8080'
const other = '10.244.1.2:8080'

/** Endpoints that can be reached as this says. */
async function withReachability(
  body: (lab: {
    readonly is: Map<string, Reached>
    readonly reachability: Reachability
    seen(): string
    readonly connects: string[]
  }) => Promise<void>,
  used: readonly string[] = [endpoint, other],
): Promise<void> {
  const is = new Map<string, Reached>()
  const connects: string[] = []
  let sights: readonly Sight[] = []
  const reachability = new Reachability({
    userOf: one => (used.includes(one) ? 'whoami' : undefined),
    connect: async one => {
      connects.push(one)
      return is.get(one)
    },
    onChange: all => (sights = all),
    everyMs: 5,
  })
  const seen = () => sights.map(({ endpoint, seen }) => `${endpoint} ${seen}`).join()
  try {
    await body({ is, reachability, seen, connects })
  } finally {
    reachability.stop()
  }
}

test('what Envoy cannot reach is told until it can be reached, and then left alone', async () => {
  await withReachability(async ({ is, reachability, seen, connects }) => {
    is.set(endpoint, 'refused')
    reachability.suspect(endpoint)
    assert.equal(seen(), `${endpoint} suspected`)
    await until(() => seen() === `${endpoint} refused`, seen)
    is.set(endpoint, 'answers')
    await until(() => seen() === '', seen)
    const before = connects.length
    await new Promise(resolve => setTimeout(resolve, 50))
    assert.equal(connects.length, before)
  })
})

test('what others ask about is looked at as long as they ask, and what the node does not use is not', async () => {
  await withReachability(
    async ({ is, reachability, seen, connects }) => {
      is.set(endpoint, 'answers')
      reachability.suspect(other)
      reachability.ask([endpoint, other])
      const unused = `${other} not used`
      await until(() => seen() === `${endpoint} answers,${unused}`, seen)
      is.set(endpoint, 'timed out')
      await until(() => seen() === `${endpoint} timed out,${unused}`, seen)
      is.set(endpoint, 'answers')
      reachability.ask([])
      await until(() => seen() === '', seen)
      assert.ok(!connects.includes(other))
    },
    [endpoint],
  )
})

test('what the node does not use any more it says nothing of, and again once it uses it', async () => {
  const used = [endpoint]
  await withReachability(async ({ is, reachability, seen, connects }) => {
    is.set(endpoint, 'timed out')
    reachability.ask([endpoint])
    await until(() => seen() === `${endpoint} timed out`, seen)
    used.pop()
    await until(() => seen() === `${endpoint} not used`, seen)
    const before = connects.length
    await new Promise(resolve => setTimeout(resolve, 50))
    assert.equal(connects.length, before)
    used.push(endpoint)
    reachability.ask([endpoint])
    await until(() => seen() === `${endpoint} timed out`, seen)
    used.pop()
    reachability.ask([])
    await until(() => seen() === '', seen)
  }, used)
})

test('one refusal is no vote, and one attempt that succeeds takes none back', async () => {
  const found: Reached[] = ['refused', 'answers', 'refused', 'refused', 'answers', 'refused', 'answers', 'answers']
  const told: string[] = []
  const { promise: isOver, resolve } = Promise.withResolvers<void>()
  const reachability = new Reachability({
    userOf: () => 'whoami',
    connect: async () => found.shift() ?? 'answers',
    onChange: ([sight]) => {
      told.push(sight?.seen ?? '')
      if (found.length === 0) resolve()
    },
    everyMs: 1,
  })
  reachability.ask([endpoint])
  await isOver
  reachability.stop()
  assert.deepEqual(told, ['suspected', 'answers', 'suspected', 'refused', 'answers'])
})

test('however many endpoints of one namespace fail, those of another are told', async () => {
  let sights: readonly Sight[] = []
  const reachability = new Reachability({
    userOf: one => (one.startsWith('10.244.') ? 'many' : 'few'),
    connect: async () => 'refused',
    onChange: all => (sights = all),
    everyMs: 5,
  })
  try {
    for (let i = 0; i < 300; i++) reachability.suspect(`10.244.${i >> 8}.${i & 255}:8080`)
    reachability.suspect('10.245.0.1:8080')
    reachability.ask(['10.245.0.2:8080'])
    const isTold = (ip: string) => sights.some(one => one.endpoint === `${ip}:8080` && one.seen === 'refused')
    await until(
      () => isTold('10.245.0.1') && isTold('10.245.0.2'),
      () => `${sights.length}`,
    )
    assert.equal(sights.length, 256)
  } finally {
    reachability.stop()
  }
})

test('where this node cannot connect at all it says nothing', async () => {
  await withReachability(async ({ reachability, seen }) => {
    reachability.suspect(endpoint)
    await until(() => seen() === '', seen)
  })
})

test('a server that listens answers, and one that does not refuses', async () => {
  for (const host of ['127.0.0.1', '::1']) {
    const server = createServer().listen(0, host)
    await new Promise(resolve => server.once('listening', resolve))
    const at = hostPort(host, (server.address() as AddressInfo).port)
    assert.equal(await connectTo(at), 'answers')
    await new Promise(resolve => server.close(resolve))
    assert.equal(await connectTo(at), 'refused')
  }
})

test('a server whose backlog is full is slow, and not dead', async () => {
  const listen = `
    const server = require('node:net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
      require('node:fs').writeSync(1, String(server.address().port))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
  const server = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = await once(server.stdout, 'data')
  // Linux takes one more than the backlog.
  const clients = [0, 1].map(() => createConnection({ host: '127.0.0.1', port: Number(port) }))
  try {
    await Promise.all(clients.map(client => once(client, 'connect')))
    assert.equal(await connectTo(`127.0.0.1:${port}`), 'slow')
  } finally {
    for (const client of clients) client.destroy()
    server.kill('SIGKILL')
  }
})
