import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type TypeUrl, typeUrls } from '../../envoy/resource.ts'
import { ResourceStore } from '../store.ts'
import { envoyTypes } from '../types.ts'
import { Link } from './testing/link.ts'
import { modelResource } from './testing/resource.ts'
import {
  delivered,
  good,
  nextVersion,
  putService,
  removeService,
  resourcesOf,
  types,
  versionOf,
} from './testing/services.ts'

const { endpoints, filter, listener } = typeUrls
const options = { types: envoyTypes }

test('after a reconnect to the same store nothing is sent, and everything counts as acknowledged before `settled`', () => {
  const link = delivered('a', 'b', 'c')
  const before = link.envoy.received
  link.settled = 0
  link.reconnect()
  link.drain()
  assert.equal(link.envoy.received, before)
  assert.equal(link.settled, 1)
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), versionOf(link, typeUrl, 'b'))
})

test('`settled` waits until Envoy has listed what it has of every type', () => {
  const link = delivered('a')
  link.settled = 0
  link.reconnect()
  while (link.envoy.requests.length > 0) {
    assert.equal(link.client.next(), undefined)
    assert.equal(link.settled, 0)
    link.hear()
  }
  link.client.next()
  assert.equal(link.settled, 1)
})

test('a listener that comes again while the former one drains finds its filter there, however it has changed', () => {
  const link = delivered('a')
  removeService(link.store, 'a')
  link.drain()
  assert.equal(link.envoy.version({ typeUrl: listener, name: 'a' }), undefined)
  assert.notEqual(link.envoy.version({ typeUrl: filter, name: 'a' }), undefined)
  putService(link.store, 'a', good)
  link.drain()
  assert.equal(link.version(filter, 'a'), versionOf(link, filter, 'a'))
  removeService(link.store, 'a')
  link.endDrains()
  assert.equal(link.version(filter, 'a'), undefined)
})

test('a resource that is removed and put back before the removal was sent is not sent at all', () => {
  const link = delivered('a')
  const before = link.envoy.received
  const all = types.map(typeUrl => link.store.get(typeUrl, 'a')!)
  removeService(link.store, 'a')
  link.store.update({ put: all })
  link.drain()
  assert.equal(link.envoy.received, before)
})

test('small resources go before large ones, also if they came later, and large ones go in small responses', () => {
  const link = new Link({ ...options, maxBytes: 80 })
  const large = ['large-1', 'large-2', 'large-3']
  for (const name of [...large, 'small']) putService(link.store, name, good)
  link.drain()
  const put = (name: string, isLarge: boolean) => {
    const { typeUrl, requires } = link.store.get(endpoints, name)!
    link.store.update({
      put: [{ ...modelResource(typeUrl, name, nextVersion(), { quality: 'good' }, requires), isLarge }],
    })
  }
  const sent = () => link.client.next()?.put.map(({ resource }) => resource.name)
  for (const name of large) put(name, true)
  put('small', false)
  assert.deepEqual(sent(), ['small', 'large-1'])
})

test('a resource that is put back while its removal is in flight is sent again', () => {
  const link = delivered('a')
  const listenerBefore = link.store.get(listener, 'a')!
  link.store.update({ remove: [listenerBefore] })
  link.send()
  link.store.update({ put: [listenerBefore] })
  link.drain()
  assert.equal(link.envoy.version(listenerBefore), listenerBefore.version)
  assert.deepEqual(
    link.gone.filter(({ typeUrl }) => typeUrl === listener),
    [{ typeUrl: listener, name: 'a' }],
  )
})

test('a name that does not exist is answered as removed, once', () => {
  const link = delivered('a')
  const ask = {
    typeUrl: endpoints,
    subscribe: ['nobody'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  }
  link.client.request(ask)
  const answer = link.client.next()
  assert.deepEqual(answer?.remove, ['nobody'])
  link.client.request({ ...ask, subscribe: [], nonce: answer.nonce })
  assert.equal(link.client.next(), undefined)
})

test('a resubscription to a name gets the resource again', () => {
  const link = delivered('a')
  link.client.request({
    typeUrl: endpoints,
    subscribe: ['a'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  })
  assert.deepEqual(
    link.client.next()?.put.map(({ resource }) => resource.name),
    ['a'],
  )
})

test('the removal of a Service while Envoy was away starts at the listeners, whatever type Envoy asks for first', () => {
  const link = delivered('a', 'b')
  removeService(link.store, 'a')
  link.reconnect()
  link.hear()
  link.send()
  assert.deepEqual(
    link.envoy.inbox[0]?.remove,
    [],
    'nothing is removed while Envoy has not said which listeners it has',
  )
  link.endDrains()
  for (const typeUrl of types) {
    assert.equal(link.envoy.version({ typeUrl, name: 'a' }), undefined)
    assert.equal(link.envoy.version({ typeUrl, name: 'b' }), versionOf(link, typeUrl, 'b'))
  }
})

test('what was removed while Envoy was away leaves it when there is nothing else to send', () => {
  const link = delivered('a')
  removeService(link.store, 'a')
  link.reconnect()
  link.endDrains()
  assert.deepEqual(
    types.flatMap(typeUrl => [...link.envoy.has.get(typeUrl)!.keys()]),
    [],
  )
})

test('a listener that comes back to the store as Envoy has listed it holds back no removal', () => {
  const link = delivered('a', 'b')
  const stored = link.store.get(listener, 'a')!
  link.store.update({ remove: [stored] })
  link.reconnect()
  while (link.envoy.requests.length > 0) link.hear()
  link.store.update({ put: [stored] })
  removeService(link.store, 'b')
  link.endDrains()
  for (const typeUrl of types) assert.equal(link.envoy.version({ typeUrl, name: 'b' }), undefined)
})

test('with 30,000 resources a change examines what it changes and no more', () => {
  class CountingStore extends ResourceStore {
    looks = 0
    override get(typeUrl: TypeUrl, name: string) {
      this.looks++
      return super.get(typeUrl, name)
    }
  }
  const store = new CountingStore()
  const link = new Link(options, store)
  const services = Array.from({ length: 10_000 }, (_, n) => `s${n}`)
  const plain = { ...good, route: undefined, scope: undefined }
  store.update({ put: services.flatMap(name => resourcesOf(name, plain, nextVersion)) })
  link.drain()
  assert.equal(link.envoy.has.get(listener)!.size, 10_000)
  const lookedAt = (change: () => void) => {
    store.looks = 0
    change()
    link.drain()
    return store.looks
  }
  assert(lookedAt(() => putService(store, 's5000', plain, [endpoints])) < 50)
  assert(lookedAt(() => putService(store, 's5000', plain)) < 50)
  assert(lookedAt(() => removeService(store, 's7000')) < 50)
  assert(lookedAt(() => putService(store, 's7000', plain)) < 50)
})
