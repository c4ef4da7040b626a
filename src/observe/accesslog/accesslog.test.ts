import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'
import type { Problem } from '../../services/problem.ts'
import { AccessLog } from './accesslog.ts'
import { type Observation, observationOf } from './observations.ts'
import { failureOf } from './records.ts'

const separator = '\u001f'

/** What Envoy sends for lines of these Service ports: resource logs, scope logs, records, attributes. */
function requestOf(lines: readonly (readonly [owner: string, fields: Readonly<Record<string, string>>])[]): Uint8Array {
  const field = (number: number, bytes: Uint8Array | string) => {
    const writer = new BinaryWriter().tag(number, WireType.LengthDelimited)
    return (typeof bytes === 'string' ? writer.string(bytes) : writer.bytes(bytes)).finish()
  }
  const attribute = (name: string, value: string) =>
    field(6, Buffer.concat([field(1, name), field(2, field(1, value))]))
  const records = lines.map(([owner, fields]) => {
    const time = new BinaryWriter().tag(1, WireType.Bit64).fixed64(1_767_225_600_000_000_000n).finish()
    const names = ['service', 'frontend', ...Object.keys(fields)].join(separator)
    return field(2, Buffer.concat([time, attribute(names, [owner, ...Object.values(fields)].join(separator))]))
  })
  return field(1, field(2, Buffer.concat(records)))
}

function accessLog(rate: number, calmMs?: number) {
  const lines: string[] = []
  const leftOut: string[] = []
  const problems = new Map<string, readonly Problem[]>()
  const observed: (readonly [port: string, Observation | undefined])[] = []
  const log = new AccessLog({
    rate,
    servicePortAt: address => (address === '10.0.0.1:80' ? 'shop/web/http' : undefined),
    write: line => lines.push(line),
    onObservation: (port, record) => observed.push([port, observationOf(record)]),
    onLeftOut: port => leftOut.push(port),
    onProblems: (origin, found) => problems.set(origin, found),
    calmMs,
  })
  const take = (owner: string, times = 1, fields = {}) =>
    log.take(requestOf(Array.from({ length: times }, () => [owner, fields])))
  return { log, take, lines, leftOut, problems, observed }
}

test('a line is JSON with numbers as such, without empty values, and with nothing that harms a terminal', () => {
  const { take, lines } = accessLog(1)
  take(`shop/web/http${separator}10.0.0.1:80`, 1, {
    code: '503',
    durationMs: '12',
    host: '-',
    path: '/"a\u001b[2J\u202e',
  })
  assert.equal(
    lines.join(''),
    '{"service":"shop/web/http","frontend":"10.0.0.1:80","time":"2026-01-01T00:00:00.000Z","code":503,"durationMs":12,"host":null,"path":"/\\"a\\u001b[2J\\u202e"}\n',
  )
})

test('a line without a Service belongs to the Service port whose address it came to, or to the address', () => {
  const { take, lines, leftOut } = accessLog(1)
  take(`-${separator}10.0.0.1:80`, 11, { code: '400' })
  take(`-${separator}10.0.0.2:80`, 1, { code: '503' })
  assert.equal(
    lines[0],
    '{"service":"shop/web/http","frontend":"10.0.0.1:80","time":"2026-01-01T00:00:00.000Z","code":400}\n',
  )
  assert.equal(lines.at(-1), '{"service":null,"frontend":"10.0.0.2:80","time":"2026-01-01T00:00:00.000Z","code":503}\n')
  assert.deepEqual(leftOut, ['shop/web/http'])
})

test('all namespaces together have so many lines, and one that has few has them', () => {
  const { take, lines } = accessLog(2)
  for (let port = 0; port < 20; port++) {
    for (let n = 0; n < 50; n++) take(`greedy-${n}/port-${port}/http${separator}10.0.0.3:80`)
  }
  assert.ok(lines.length < 500, `${lines.length} lines`)
  take(`modest/web/http${separator}10.0.0.4:80`)
  assert.match(lines.at(-1)!, /modest/)
})

test('an observation is no line and takes none, and a client that had its request read has lost nothing', () => {
  const { take, lines, leftOut, observed } = accessLog(1)
  take(`a/b/http${separator}10.0.0.3:80`, 100, { kind: 'observed', flags: 'DC', sent: '17' })
  take(`a/b/http${separator}10.0.0.3:80`, 1, { kind: 'observed', flags: 'DC', sent: '-' })
  take(`a/b/http${separator}10.0.0.3:80`, 1, { kind: 'observed', flags: 'URX,UPE', sent: '100' })
  take(`-${separator}10.0.0.1:80`, 1, { kind: 'observed', spoke: 'TLS' })
  take(`-${separator}10.0.0.2:80`, 1, { kind: 'observed', flags: 'DC', sent: '0' })
  assert.deepEqual([lines, leftOut], [[], []])
  assert.deepEqual(observed.slice(100), [
    ['a/b/http', { what: 'lost', loss: 'client-ended' }],
    ['a/b/http', { what: 'lost', loss: 'answer-refused' }],
    ['shop/web/http', { what: 'spoke', spoke: 'TLS' }],
  ])
  assert.ok(observed.slice(0, 100).every(([, observation]) => observation === undefined))
})

test('a record of the default log is a line where something failed, and an observation where a request was lost', () => {
  const { take, lines, observed } = accessLog(10)
  const owner = `a/b/http${separator}10.0.0.3:80`
  const records = [
    { flags: 'DC', code: '0', sent: '0' },
    { flags: 'DC', code: '200', sent: '17' },
    { flags: 'DC,DR', code: '200', sent: '17' },
    { flags: '-', code: '503', sent: '17' },
    { flags: 'UC', code: '0', sent: '17' },
    { flags: 'DC', code: '500', sent: '17' },
    { flags: 'UPE', code: '502', sent: '17' },
  ]
  for (const record of records) take(owner, 1, record)
  assert.deepEqual(
    lines.map(line => JSON.parse(line)).map(({ flags, code, sent }) => [flags, code, sent]),
    [
      ['-', 503, undefined],
      ['UC', 0, undefined],
      ['DC', 500, undefined],
      ['UPE', 502, undefined],
    ],
  )
  // What can be no lost request is not looked at further.
  assert.deepEqual(
    observed.map(([, observation]) => observation),
    [{ what: 'lost', loss: 'client-ended' }, undefined, undefined, undefined, { what: 'lost', loss: 'answer-refused' }],
  )
})

test('a Service port has ten seconds’ lines at once, and another has all of its own', () => {
  const { take, lines, leftOut } = accessLog(2)
  take('loud/web/http', 100)
  take('quiet/web/http', 5)
  assert.equal(lines.filter(line => line.includes('loud/')).length, 20)
  assert.equal(lines.filter(line => line.includes('quiet/')).length, 5)
  assert.deepEqual([leftOut.length, new Set(leftOut)], [80, new Set(['loud/web/http'])])
})

test('many ports of a namespace have five times as many lines together', () => {
  // One more comes every two seconds.
  const { take, lines } = accessLog(0.1)
  for (let i = 0; i < 50; i++) take(`loud/web/http-${i}`, 10)
  assert.equal(lines.length, 5)
  take('quiet/web/http')
  assert.equal(lines.length, 6)
})

test('the next line says how many are missing before it', async () => {
  const { take, lines } = accessLog(5)
  take('a/b/http', 57)
  await sleep(300)
  take('a/b/http')
  assert.match(lines.at(-1)!, /"leftOut":[1-7]\}\n$/)
})

test('the Service has a problem while lines are left out, and no longer', async t => {
  const { log, take, problems } = accessLog(1, 100)
  t.after(() => log.stop())
  take('a/b/http', 11)
  const [told] = problems.get('access log a/b/http')!
  assert.deepEqual([told!.code, told!.object], ['LP306', 'Service a/b'])
  await sleep(300)
  assert.deepEqual(problems.get('access log a/b/http'), [])
})

test('whatever bytes come, they are lines or an error', () => {
  const { log } = accessLog(1)
  const good = requestOf([['a/b/http', { code: '500' }]])
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => good.with(at, byte)),
    fc.nat(good.length).map(end => good.slice(0, end)),
  )
  fc.assert(
    fc.property(bytes, request => {
      try {
        log.take(request)
      } catch (error) {
        assert.ok(error instanceof Error)
      }
    }),
  )
  log.stop()
})

test('a failure names the endpoint to which there was no connection', () => {
  const failure = (flags: string) =>
    failureOf({
      ...{ owner: ['shop/web/http'], isObservation: false, isLine: true },
      fields: () => Object.entries({ code: '503', method: 'GET', flags, endpoint: '10.244.1.7:8080' }),
    })
  assert.deepEqual(failure('UF,URX'), { method: 'GET', isCut: false, unreached: '10.244.1.7:8080' })
  assert.deepEqual(failure('UC'), { method: 'GET', isCut: true })
})
