import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { endpointHealth, isReady, readActivity, readConnectionCounts, statsTexts } from './admin.ts'
import type { UnixAddress } from './sockets.ts'

async function admin(t: TestContext, answer: RequestListener): Promise<UnixAddress> {
  const server = createServer(answer)
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-admin-'))
  const path = join(directory, 'admin.sock')
  await new Promise<void>(resolve => server.listen(path, resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
    rmSync(directory, { recursive: true })
  })
  return { path }
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
  test(`an Envoy that ${what} gives no answer, which is no error`, async t => {
    const socket = await admin(t, answer)
    const [ready, stats, activity, ends, health] = await Promise.all([
      isReady(socket),
      statsTexts([socket]),
      readActivity([socket]),
      readConnectionCounts([socket]),
      endpointHealth([socket], 'a/b/c'),
    ])
    assert.deepEqual(
      { ready, stats, activity, ends, health },
      { ready: false, stats: [''], activity: undefined, ends: undefined, health: {} },
    )
  })
}

const nowhere = { path: '/nowhere/admin.sock' }

test('without an Envoy there is no answer either', async () => {
  assert.equal(await isReady(nowhere), false)
  assert.equal(await readActivity([nowhere]), undefined)
})

test('a socket that a process of another user serves gives no answer', async t => {
  const { path } = await admin(t, (_, response) => response.end('LIVE'))
  const own = process.geteuid!()
  assert.equal(await isReady({ path, users: [own] }), true)
  assert.equal(await isReady({ path, users: [own + 1] }), false)
})

test('activity is found by the names of listeners, also those of IPv6, and of clusters', async t => {
  const lines = [
    'cluster.a/b/http/IPv6.upstream_rq_active: 7',
    'cluster.a/b/http.upstream_rq_2xx: 40',
    'cluster.a/b/http.upstream_rq_5xx: 2',
    'listener.10.0.0.1_80.downstream_cx_active: 3',
    'listener.[fd00__1]_80.downstream_cx_active: 2',
  ]
  const socket = await admin(t, (_, response) => response.end(lines.join('\n')))
  const { connections, requests, answers } = (await readActivity([socket]))!
  assert.deepEqual(['10.0.0.1:80', '[fd00::1]:80', '10.0.0.2:80'].map(connections), [3, 2, 0])
  assert.deepEqual(['a/b/http/IPv6', 'a/b/http'].map(requests), [7, 0])
  assert.deepEqual([answers('a/b/http/IPv6'), answers('a/b/http'), answers('a/b/http', [1, 2, 3, 4])], [0, 42, 40])
})

test('connections are counted for all Envoys together', async t => {
  const lines = [
    [
      'cluster.a/b/http.upstream_cx_total: 40',
      'cluster.a/b/http.upstream_cx_idle_timeout: 7',
      'cluster.a/b/http/IPv6.upstream_cx_destroy_remote: 2',
      '',
    ],
    [
      'cluster.a/b/http.upstream_cx_idle_timeout: 3',
      'cluster.a/b/http.upstream_cx_destroy_remote: 1',
      'cluster.a/b/http.upstream_cx_http2_total: 4',
      'cluster.a/b/http.outlier_detection.ejections_active: 1',
      '',
    ],
  ]
  const sockets = await Promise.all(lines.map(each => admin(t, (_, response) => response.end(each.join('\n')))))
  assert.deepEqual(
    [...(await readConnectionCounts(sockets))!],
    [
      ['a/b/http', { opened: 40, http2: 4, byTimeout: 10, byEndpoint: 1, ejected: 1 }],
      ['a/b/http/IPv6', { opened: 0, http2: 0, byTimeout: 0, byEndpoint: 2, ejected: 0 }],
    ],
  )
})
