import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeKey, keyOf } from '../../services/objects/objects.ts'
import { ApiError, ApiServer } from '../api-server.ts'
import { silentLog, until } from '../testing.ts'
import { ListWatch } from './list-watch.ts'
import { Readiness } from './readiness.ts'
import { type Answer, type FakeApi, startFakeApi } from './testing.ts'

const event = (type: string, metadata: object) =>
  `${JSON.stringify({ type, object: { apiVersion: 'v1', kind: 'Namespace', metadata } })}\n`
const added = (name: string, version: number) => event('ADDED', { name, resourceVersion: String(version) })
const bookmark = (version: number, annotations?: object) =>
  event('BOOKMARK', { resourceVersion: String(version), annotations })
const listEnd = (version: number) => bookmark(version, { 'k8s.io/initial-events-end': 'true' })
const expired = `${JSON.stringify({ type: 'ERROR', object: { code: 410, message: 'too old resource version' } })}\n`

/** These lines, and then nothing more. */
const stream =
  (...lines: readonly string[]): Answer =>
  response =>
    void response.writeHead(200).write(lines.join(''))
/** These lines, and then the connection is gone. */
const cut =
  (...lines: readonly string[]): Answer =>
  response =>
    void response.writeHead(200).write(lines.join(''), () => response.destroy())
const refuse =
  (code: number, headers: Readonly<Record<string, string>> = {}): Answer =>
  response =>
    void response.writeHead(code, headers).end(JSON.stringify({ kind: 'Status', message: `refused by ${code}` }))
const page =
  (names: readonly string[], version: number, more?: string): Answer =>
  response => {
    const items = names.map(name => ({ metadata: { name, resourceVersion: '1' } }))
    response.end(
      JSON.stringify({ kind: 'NamespaceList', metadata: { resourceVersion: String(version), continue: more }, items }),
    )
  }

/** Watches Namespaces of a server that answers so; what it tells is in `told`, until the body ends. */
function testWatch(name: string, answers: readonly Answer[], body: (lab: Lab) => Promise<void>): void {
  test(name, async () => {
    const server = await startFakeApi(answers)
    const stopping = new AbortController()
    const told: string[] = []
    const api = new ApiServer(server.kubeconfig, 60_000)
    const readiness = new Readiness(signal => api.isReady(signal))
    const resource = { kind: 'Namespace', apiVersion: 'v1', path: '/api/v1/namespaces' } as const
    const watch = new ListWatch(api, readiness, resource, silentLog, {
      changes: changes => {
        for (const change of changes) {
          told.push(`${change.type} ${describeKey(change.type === 'put' ? keyOf(change.object) : change.key)}`)
        }
      },
      problems: () => {},
      synced: () => told.push('synced'),
      progress: version => told.push(`progress ${version}`),
      trouble: error => told.push(error ? `trouble ${error instanceof ApiError ? error.code : error.message}` : 'well'),
    })
    const running = watch.run(stopping.signal)
    try {
      const untilTold = (line: string) =>
        until(
          () => told.includes(line),
          () => told.join('; '),
        )
      await body({ ...server, told, untilTold })
    } finally {
      stopping.abort()
      await running
      server.stop()
    }
  })
}

interface Lab extends FakeApi {
  readonly told: readonly string[]
  untilTold(line: string): Promise<void>
}

testWatch(
  'a server with too much to do is left alone for as long as it asks, which is told',
  [refuse(429, { 'retry-after': '1' }), stream(added('a', 1), listEnd(5))],
  async ({ told, askedAt, untilTold }) => {
    await untilTold('synced')
    assert.deepEqual(told.slice(0, 5), ['trouble 429', 'put Namespace a', 'progress 5', 'well', 'synced'])
    assert.ok(askedAt[1]! - askedAt[0]! >= 1000, String(askedAt))
  },
)

testWatch(
  'a server that sends bookmarks alone is well, and the watch goes on from the last of them',
  [cut(added('a', 1), listEnd(5), ...Array.from({ length: 500 }, (_, i) => bookmark(6 + i))), stream(added('b', 600))],
  async ({ told, queries, untilTold }) => {
    await untilTold('put Namespace b')
    assert.deepEqual(
      told.filter(line => /^(trouble|put|remove)/.test(line)),
      ['put Namespace a', 'put Namespace b'],
    )
    assert.equal(queries[1]!.get('resourceVersion'), '505')
    assert.equal(queries[1]!.get('sendInitialEvents'), null)
  },
)

testWatch(
  'streams that are cut in the middle of an object go on behind what came whole, and are no trouble at first',
  [
    cut(added('a', 1), listEnd(5), added('b', 6), added('c', 7).slice(0, 20)),
    cut(added('c', 7), added('d', 8).slice(0, 40)),
    stream(added('d', 8)),
  ],
  async ({ told, queries, untilTold }) => {
    await untilTold('put Namespace d')
    assert.deepEqual(
      told.filter(line => /^(trouble|put|remove)/.test(line)),
      ['a', 'b', 'c', 'd'].map(name => `put Namespace ${name}`),
    )
    assert.deepEqual(
      queries.map(query => query.get('resourceVersion')),
      [null, '6', '7'],
    )
  },
)

testWatch(
  'a stream that is cut again and again is trouble, and well with the next that is accepted',
  [cut(added('a', 1), listEnd(5)), ...Array.from({ length: 4 }, () => cut(bookmark(6))), stream(added('b', 7))],
  async ({ told, untilTold }) => {
    await untilTold('put Namespace b')
    assert.ok(
      told.some(line => line.startsWith('trouble')),
      told.join('; '),
    )
    assert.equal(
      told.findLast(line => /^(trouble|well)/.test(line)),
      'well',
    )
  },
)

for (const [how, answer] of [
  ['in the stream', stream(expired)],
  ['at once', refuse(410)],
] as const) {
  testWatch(
    `a version that the server has forgotten, as it says ${how}, leads to a list, which tells what differs`,
    [
      cut(added('a', 1), added('gone', 2), listEnd(5)),
      answer,
      stream(added('a', 1), added('new', 8), listEnd(9), added('b', 10)),
    ],
    async ({ told, queries, untilTold }) => {
      await untilTold('put Namespace b')
      assert.deepEqual(
        told.filter(line => /^(trouble|put|remove|synced)/.test(line)),
        [
          'put Namespace a',
          'put Namespace gone',
          'synced',
          'put Namespace new',
          'remove Namespace gone',
          'put Namespace b',
        ],
      )
      assert.deepEqual(
        queries.map(query => [query.get('resourceVersion'), query.get('sendInitialEvents')]),
        [
          [null, 'true'],
          ['5', null],
          [null, 'true'],
        ],
      )
    },
  )
}

testWatch(
  'a server that cannot stream a list is read in pages, and in one piece where it forgets the pages’ version',
  [refuse(422), page(['a'], 5, 'more'), refuse(410), page(['a', 'b'], 9), stream(added('c', 10))],
  async ({ told, queries, untilTold }) => {
    await untilTold('put Namespace c')
    assert.deepEqual(
      told.filter(line => !/^(well|progress)/.test(line)),
      ['put Namespace a', 'put Namespace b', 'synced', 'put Namespace c'],
    )
    assert.deepEqual(
      queries.slice(1).map(query => [query.get('limit'), query.get('continue'), query.get('resourceVersion')]),
      [
        ['500', null, null],
        ['500', 'more', null],
        [null, null, null],
        [null, null, '9'],
      ],
    )
  },
)
