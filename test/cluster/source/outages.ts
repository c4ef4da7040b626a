/** Connections and servers that fail. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../../src/sources/testing.ts'
import { agrees, follow, options, server, service, services } from './lab.ts'

test('connections that are cut again and again miss no change and are no trouble', options, async t => {
  const followed = await follow(t)
  const { listener, proxy, shows } = followed
  await server.must('POST', services, service('cut', 1000))
  for (let port = 1001; port <= 1010; port++) {
    proxy.cut()
    await server.must('PATCH', `${services}/cut`, { spec: { ports: [{ name: 'http', port }] } })
    if (port % 3 === 0) await shows('cut', port)
  }
  await shows('cut', 1010)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  await agrees(followed)
})

test('a connection on which nothing arrives any more is replaced', options, async t => {
  const followed = await follow(t, { quietMs: 1500 })
  const { listener, proxy, shows } = followed
  proxy.stall()
  await server.must('POST', services, service('stalled'))
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
    30_000,
  )
  assert.match(
    listener.told()[0]!,
    /LP105 Kubernetes API https:\S+: not reachable: the connection has been silent for 2 s/,
  )
  assert.equal(listener.told().length, 1, 'one for all resources')
  proxy.pass()
  await shows('stalled', 80)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
    60_000,
  )
  await agrees(followed)
})

test(
  'a server killed and started again, with changes made around it, leaves no change missed or told twice',
  options,
  async t => {
    for (const name of ['kept', 'changed', 'deleted', 'recreated']) await server.must('POST', services, service(name))
    const followed = await follow(t)
    const { listener, proxy, shows } = followed
    listener.history.length = 0
    proxy.stall()
    await server.must('PATCH', `${services}/changed`, { spec: { ports: [{ name: 'http', port: 81 }] } })
    await server.must('DELETE', `${services}/deleted`)
    await server.must('DELETE', `${services}/recreated`)
    await server.must('POST', services, service('recreated', 81))
    await server.killServer()
    proxy.cut()
    proxy.pass()
    await until(
      () => listener.told().length > 0,
      () => 'no trouble told',
    )
    assert.match(listener.told()[0]!, /LP105 .*not reachable: .*; what is known stays, and it is tried again/)
    await server.startServer()
    await server.must('POST', services, service('after'))
    await shows('after', 80)
    await shows('changed', 81)
    await shows('deleted', undefined)
    await shows('recreated', 81)
    await until(
      () => listener.told().length === 0,
      () => listener.told().join('\n'),
    )
    assert.ok(!listener.history.includes('put Service default/kept'), 'what did not change is not told')
    await agrees(followed)
  },
)

test('a server that was away for long is asked as soon as it is ready, and lists again at once', options, async t => {
  await server.must('POST', services, service('away'))
  const followed = await follow(t)
  const { pauses, shows, listener, proxy } = followed
  proxy.stall()
  await server.must('PATCH', `${services}/away`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await server.compact()
  await server.killServer()
  proxy.cut()
  proxy.pass()
  await until(
    () => (pauses.at(-1)?.ms ?? 0) > 8000,
    () => `${pauses.map(({ ms }) => ms)}`,
    60_000,
  )
  const before = pauses.length
  await server.startServer()
  await shows('away', 81)
  // The server may have taken longer to start than the pause above.
  const { began, ms } = pauses.findLast(({ ms }) => ms > 8000)!
  assert.ok(performance.now() < began + ms, `not before the pause of ${ms} ms was over`)
  const forgotten = pauses.slice(before).filter(({ code }) => code === 410)
  assert.equal(forgotten.length, 1)
  assert.ok(forgotten[0]!.ms <= 200, `the list waited ${forgotten[0]!.ms} ms`)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  await agrees(followed)
})
