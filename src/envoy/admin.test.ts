import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { endpointHealth, isReady, openConnections, statsTexts } from './admin.ts'

async function admin(t: TestContext, answer: RequestListener): Promise<number> {
  const server = createServer(answer)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const silences: Readonly<Record<string, RequestListener>> = {
  'does not answer': () => undefined,
  'answers with an error': (_, response) => response.writeHead(503).end('{}'),
  'breaks off': (_, response) => {
    response.writeHead(200, { 'Content-Length': 100 })
    response.write('half', () => response.destroy())
  },
}

for (const [what, answer] of Object.entries(silences)) {
  test(`an Envoy that ${what} has said nothing, which is no error`, async t => {
    const port = await admin(t, answer)
    const [ready, stats, connections, health] = await Promise.all([
      isReady(port),
      statsTexts([port]),
      openConnections([port], ['10.0.0.1:80']),
      endpointHealth([port], 'a/b/c'),
    ])
    assert.deepEqual(
      { ready, stats, connections, health },
      { ready: false, stats: [''], connections: undefined, health: {} },
    )
  })
}

test('without an Envoy there is nothing to tell either', async () => {
  assert.equal(await isReady(1), false)
  assert.equal(await openConnections([1], []), undefined)
})

test('listeners are found by their names, also those of IPv6', async t => {
  const port = await admin(t, (_, response) =>
    response.end('listener.10.0.0.1_80.downstream_cx_active: 3\nlistener.[fd00__1]_80.downstream_cx_active: 2\n'),
  )
  assert.deepEqual(
    await openConnections([port], ['10.0.0.1:80', '[fd00::1]:80', '10.0.0.2:80']),
    new Map([
      ['10.0.0.1:80', 3],
      ['[fd00::1]:80', 2],
      ['10.0.0.2:80', 0],
    ]),
  )
})
