import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readFacts } from '../facts/told.ts'
import { everything, inNamespace, ofNode } from '../facts/types.ts'
import { aPod, aService, put, remove } from '../services/testing.ts'
import { FactStore } from './knowledge/factstore.ts'
import { Subscriber } from './subscriber.ts'

function setup() {
  const streams: Subscriber[] = []
  const store = new FactStore((type, name, scopes) => {
    for (const stream of streams) stream.changed(type, name, scopes)
  })
  const connect = () => {
    const stream = new Subscriber(store)
    streams.push(stream)
    return stream
  }
  return { store, connect }
}

const version = (at: number) => String(1000 + at)
const service = (at: number, name = 'cart') =>
  ({ ...put(aService({ name, labels: { at: String(at) } })), version: version(at) }) as const
const all = { type: 'Service', subscribe: [everything], initialVersions: {}, nonce: '' } as const

function answer(stream: Subscriber, nonce: string): void {
  stream.request({ type: 'Service', subscribe: [], initialVersions: {}, nonce })
}

test('an agent that acknowledges slowly gets the latest of each object, once', () => {
  const { store, connect } = setup()
  store.apply([service(0)])
  const stream = connect()
  stream.request(all)
  const { nonce } = readFacts(stream.next()!)
  for (let at = 1; at <= 1000; at++) store.apply([service(at)])
  store.apply([service(1001, 'gone'), remove(aService({ name: 'gone' }))])
  assert.equal(stream.next(), undefined)
  answer(stream, nonce)
  const told = readFacts(stream.next()!)
  assert.deepEqual(
    told.put.map(({ name, version }) => [name, version]),
    [['whoami/cart', version(1000)]],
  )
  assert.deepEqual(told.removed, ['whoami/gone'])
  answer(stream, told.nonce)
  assert.equal(stream.next(), undefined)
})

test('responses are short, and the last one says that all has been told, and up to which version', () => {
  const { store, connect } = setup()
  const annotations = { 'config.lightpath.cloud/http-num-retries': 'x'.repeat(1000) }
  for (let i = 0; i < 2000; i++) store.apply([put(aService({ name: `cart${i}`, annotations }))])
  store.progress('Service', '1234')
  const stream = connect()
  stream.request(all)
  const names = new Set<string>()
  for (let response = stream.next(); response; response = stream.next()) {
    assert.ok(response.length < 100_000)
    const { nonce, put, complete } = readFacts(response)
    for (const { name } of put) names.add(name)
    assert.deepEqual(complete, names.size < 2000 ? [] : [{ scope: everything, version: '1234' }])
    answer(stream, nonce)
  }
  assert.equal(names.size, 2000)
})

/** So long that some 60 of them fill a response. */
const long = (i: number, at: number) => {
  const annotations = { 'config.lightpath.cloud/http-num-retries': 'x'.repeat(1000) }
  return { ...put(aService({ name: `cart${i}`, annotations })), version: version(at) } as const
}

test('agents that have nothing are told the same bytes, and then what has changed since these were made', () => {
  const { store, connect } = setup()
  for (let i = 0; i < 200; i++) store.apply([long(i, i)])
  const [early, late] = [connect(), connect()]
  early.request(all)
  const first = early.next()!
  // One changes, one goes, one goes and comes back, one is new: while the one agent is told, and before the other connects.
  const gone = (i: number) => remove(aService({ name: `cart${i}` }))
  store.apply([long(0, 1000), gone(1), gone(2), long(2, 1002), gone(199), long(200, 1200)])
  late.request(all)
  const firstOfLate = late.next()!
  assert.equal(firstOfLate, first)
  for (const stream of [early, late]) {
    const held = new Map<string, string>()
    const complete: (readonly [scope: string, held: number])[] = []
    for (let response: Buffer | undefined = first; response; response = stream.next()) {
      const told = readFacts(response)
      for (const one of told.put) held.set(one.name, one.version)
      for (const name of told.removed) held.delete(name)
      for (const { scope } of told.complete) complete.push([scope, held.size])
      answer(stream, told.nonce)
    }
    const unchanged = Array.from({ length: 196 }, (_, i) => [i + 3, i + 3] as const)
    const there = [[0, 1000], [2, 1002], ...unchanged, [200, 1200]] as const
    const versions = there.map(([i, at]) => [`whoami/cart${i}`, version(at)] as const)
    assert.deepEqual(held, new Map(versions))
    assert.deepEqual(complete, [[everything, versions.length]])
  }
})

test('what agents are told first is made anew once much of it has changed', () => {
  const { store, connect } = setup()
  for (let i = 0; i < 200; i++) store.apply([long(i, i)])
  const [before, after] = [connect(), connect()]
  before.request(all)
  for (let i = 0; i < 150; i++) store.apply([long(i, 1000 + i)])
  after.request(all)
  const first = [before, after].map(stream => readFacts(stream.next()!).put[0])
  assert.deepEqual(
    first.map(told => [told?.name, told?.version]),
    [
      ['whoami/cart0', version(0)],
      ['whoami/cart0', version(1000)],
    ],
  )
})

test('an agent that comes back is told only what is different', () => {
  const { store, connect } = setup()
  store.apply([service(1, 'same'), service(2, 'changed'), service(3, 'new')])
  store.progress('Service', version(3))
  const stream = connect()
  const initialVersions = { 'whoami/same': version(1), 'whoami/changed': version(0), 'whoami/gone': version(0) }
  stream.request({ ...all, initialVersions })
  const { put, removed } = readFacts(stream.next()!)
  assert.deepEqual(put.map(({ name }) => name).sort(), ['whoami/changed', 'whoami/new'])
  assert.deepEqual(removed, ['whoami/gone'])
})

test('an agent is told the Pods of its node and of the namespaces that it needs, and no others', () => {
  const { store, connect } = setup()
  const own = aPod('own', '10.0.0.1', { namespace: 'other', nodeName: 'node1' })
  const needed = aPod('needed', '10.0.0.2', { namespace: 'shop', nodeName: 'node2' })
  const strange = aPod('strange', '10.0.0.3', { namespace: 'other', nodeName: 'node2' })
  const stream = connect()
  stream.request({ ...all, type: 'Pod', subscribe: [ofNode('node1'), inNamespace('shop')] })
  store.apply([own, needed, strange].map(put))
  const first = readFacts(stream.next()!)
  assert.deepEqual(first.put.map(({ name }) => name).sort(), ['other/own', 'shop/needed'])
  answer(stream, first.nonce)
  store.apply([remove(strange), put({ ...own, nodeName: 'node2' })])
  const second = readFacts(stream.next()!)
  assert.deepEqual([second.put, second.removed], [[], ['other/own']])
})

test('a stream cannot have scopes without end, nor ask for single objects', () => {
  const { connect } = setup()
  const many = Array.from({ length: 65 }, (_, i) => inNamespace(`n${i}`))
  assert.throws(() => connect().request({ ...all, type: 'Pod', subscribe: many }), /more than 64 scopes/)
  assert.throws(() => connect().request({ ...all, subscribe: ['shop/cart'] }), /"shop\/cart" is no scope/)
})

test('an agent cannot have the control plane remember names that it invents', () => {
  const { store, connect } = setup()
  store.apply([service(1)])
  const invented = (count: number, suffix = '') =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`whoami/gone-${i}${suffix}`, version(0)]))
  const stream = connect()
  stream.request({ ...all, initialVersions: invented(1000) })
  assert.equal(readFacts(stream.next()!).removed.length, 1000)
  const again = { ...all, type: 'Pod', subscribe: [inNamespace('shop')] } as const
  stream.request(again)
  assert.throws(
    () => stream.request({ ...again, subscribe: [inNamespace('other')], initialVersions: invented(1) }),
    /versions come with the first scopes of a type/,
  )
  assert.throws(() => connect().request({ ...all, initialVersions: invented(1002) }), /1002 names are unknown here/)
  const long = invented(1, 'x'.repeat(600))
  assert.throws(() => connect().request({ ...all, initialVersions: long }), /is no name$/)
})

test('scopes that an agent has already are not told again', () => {
  const { store, connect } = setup()
  store.apply([service(1)])
  const stream = connect()
  stream.request(all)
  const { nonce } = readFacts(stream.next()!)
  stream.request({ ...all, nonce, initialVersions: { 'whoami/gone': version(0) } })
  assert.equal(stream.next(), undefined)
})
