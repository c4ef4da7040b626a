import assert from 'node:assert/strict'
import { test } from 'node:test'
import { typeUrls } from '../../envoy/resource.ts'
import { Link } from './testing/link.ts'
import { modelResource } from './testing/resource.ts'
import {
  delivered,
  good,
  keepCommon,
  nextVersion,
  putService,
  removeService,
  resourcesOf,
  type ServiceState,
  types,
  versionOf,
} from './testing/services.ts'

const { cluster, endpoints, filter, listener, route } = typeUrls

test('what requires a rejected resource waits, and comes when a good version of it does', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, cluster: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)
  assert.equal(link.version(listener, 'a'), undefined)
  putService(link.store, 'a', good, [cluster])
  link.drain()
  assert.equal(link.version(listener, 'a'), versionOf(link, listener, 'a'))
})

test('a rejected version is not sent to that Envoy again, also when it subscribes anew', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, endpoints: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)
  link.client.request({
    typeUrl: endpoints,
    subscribe: ['a'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  })
  // Envoy waits for an answer: that there are no such endpoints.
  const answer = link.client.next()
  assert.deepEqual([answer?.put, answer?.remove], [[], ['a']])
})

test('a filter that was rejected is nowhere taken for acknowledged, after a reconnect either, and takes no other along', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, filter: 'bad' })
  putService(link.store, 'b', good)
  const isNacked = () => link.nacks.some(({ ref }) => ref.typeUrl === filter && ref.name === 'a')
  for (const reconnect of [() => {}, () => link.reconnect()]) {
    reconnect()
    link.drain()
    assert.ok(isNacked())
    assert.equal(link.version(filter, 'a'), undefined)
    assert.equal(link.version(filter, 'b'), versionOf(link, filter, 'b'))
  }
  putService(link.store, 'a', good, [filter])
  link.drain()
  assert.equal(link.version(filter, 'a'), versionOf(link, filter, 'a'))
})

test('a listener that went into service without its filter comes again with it, and then asks for its routes', () => {
  for (const reconnect of [(_: Link) => {}, (link: Link) => link.reconnect()]) {
    const link = new Link()
    for (const name of ['a', 'b']) putService(link.store, name, { ...good, filter: 'bad', scope: undefined })
    link.drain()
    assert.deepEqual([...link.envoy.early].sort(), ['a', 'b'])
    reconnect(link)
    putService(link.store, 'b', { ...good, scope: undefined }, [filter])
    link.drain()
    assert.deepEqual([...link.envoy.early], ['a'])
    for (const typeUrl of [listener, route]) assert.equal(link.version(typeUrl, 'b'), versionOf(link, typeUrl, 'b'))
  }
})

test('an Envoy whose only filter was rejected has settled: it asks for no routes', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, filter: 'bad', scope: undefined })
  link.drain()
  assert.equal(link.version(route, 'a'), undefined)
  assert.equal(link.settled, 1)
})

test('what came beside something that Envoy rejected is remembered by it: after a reconnect none of it is sent again', () => {
  const link = new Link()
  link.store.update({
    put: ['a', 'b', 'c'].flatMap(name =>
      resourcesOf(name, { ...good, cluster: name === 'b' ? 'bad' : 'good' }, nextVersion),
    ),
  })
  keepCommon(link.store)
  link.drain()
  removeService(link.store, 'b')
  const before = link.envoy.received
  link.reconnect()
  link.drain()
  assert.equal(link.envoy.received, before)
  assert.equal(link.version(cluster, 'c'), versionOf(link, cluster, 'c'))
})

test('no response both puts and removes, since Envoy would list what it removed in a rejected one', () => {
  const link = delivered('a', 'b')
  link.store.update({
    put: [modelResource(listener, 'c', 'bad', { quality: 'bad' })],
    remove: [{ typeUrl: listener, name: 'a' }],
  })
  const responses = [link.client.next()]
  link.client.request({
    typeUrl: listener,
    subscribe: [],
    unsubscribe: [],
    initialVersions: {},
    nonce: responses[0]!.nonce,
    error: undefined,
  })
  responses.push(link.client.next())
  assert.deepEqual(
    responses.map(response => [response!.put.length, response!.remove.length].toSorted()),
    [
      [0, 1],
      [0, 1],
    ],
  )
})

test('a Service that is removed during the bisection of a NACK takes no other along', () => {
  const link = new Link()
  const services = ['a', 'b', 'c', 'd', 'e', 'f']
  const plain: ServiceState = {
    cluster: 'good',
    endpoints: undefined,
    listener: undefined,
    filter: undefined,
    route: undefined,
    scope: undefined,
  }
  for (const name of services) putService(link.store, name, plain)
  link.drain()
  for (const name of services)
    putService(link.store, name, { ...plain, cluster: name === 'f' ? 'broken' : 'good' }, [cluster])
  link.send()
  link.envoy.receive(link.nacks)
  removeService(link.store, 'b')
  link.drain()
  for (const name of ['a', 'c', 'd', 'e']) assert.equal(link.version(cluster, name), versionOf(link, cluster, name))
  assert.equal(link.version(cluster, 'b'), undefined)
})

test('a listener from before a reconnect whose successor is rejected holds what it requires, and nothing else', () => {
  const link = new Link()
  const plain = { ...good, filter: undefined, route: undefined, scope: undefined }
  for (const name of ['a', 'b']) putService(link.store, name, plain)
  link.drain()
  link.store.update({ remove: [{ typeUrl: listener, name: 'a' }] })
  link.reconnect()
  while (link.envoy.requests.length > 0) link.hear()
  putService(link.store, 'a', { ...plain, listener: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)

  removeService(link.store, 'b')
  link.drain()
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), undefined)

  removeService(link.store, 'a')
  link.send()
  link.send()
  assert.deepEqual(
    link.envoy.inbox.map(({ typeUrl }) => typeUrl),
    [listener],
  )
  link.drain()
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'a'), undefined)
})

test('one broken resource among 1000 costs a few dozen responses, and the others arrive', () => {
  const link = new Link()
  for (let n = 0; n < 1000; n++)
    putService(link.store, `s${n}`, {
      ...good,
      cluster: n === 321 ? 'broken' : 'good',
      listener: undefined,
      route: undefined,
    })
  let responses = 0
  const deliver = link.envoy.deliver.bind(link.envoy)
  link.envoy.deliver = (response, client) => {
    if (response.typeUrl === cluster) responses++
    deliver(response, client)
  }
  link.drain()
  assert.deepEqual(
    link.nacks.map(({ ref }) => ref.name),
    ['s321'],
  )
  assert.equal(link.envoy.has.get(cluster)!.size, 999)
  assert(responses <= 25, `${responses} responses`)
})

test('a Service that Envoy keeps rejecting, or that waits, does not hold up another', () => {
  const link = delivered('b')
  putService(link.store, 'a', { ...good, cluster: 'broken' })
  link.drain()
  for (let round = 0; round < 5; round++) {
    putService(link.store, 'a', { ...good, cluster: 'broken', endpoints: 'bad' })
    putService(link.store, 'b', good)
    link.drain()
    for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), versionOf(link, typeUrl, 'b'))
  }
})
