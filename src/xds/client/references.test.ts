import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backing as backingOf, typeUrls } from '../../envoy/resource.ts'
import type { ResourceStore } from '../store.ts'
import type { Link } from './testing/link.ts'
import { delivered, good, putService, removeService, versionOf } from './testing/services.ts'

const { cluster, route, scope } = typeUrls

/** The address of Service `a` goes to `b`: another route, and the same scope. */
function moveAddress(store: ResourceStore): void {
  putService(store, 'a', { ...good, listener: undefined, leadsTo: 'b' }, [])
  store.update({ remove: backingOf('a') })
}

const clusterOf = (link: Link, name: string) => link.envoy.version({ typeUrl: cluster, name })

test('a scope whose address goes to another Service lets go of the old cluster and holds the new one', () => {
  const link = delivered('a', 'b')
  const before = link.envoy.version({ typeUrl: scope, name: 'a' })
  moveAddress(link.store)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))
  assert.equal(link.envoy.version({ typeUrl: scope, name: 'a' }), before)

  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
  removeService(link.store, 'a')
  link.drain()
  assert.equal(clusterOf(link, 'b'), undefined)
})

test('a scope whose address goes to a Service that Envoy does not have yet holds that one once it comes', () => {
  const link = delivered('a')
  moveAddress(link.store)
  link.drain()
  assert(clusterOf(link, 'a'), 'the route leads there until it can lead elsewhere')
  putService(link.store, 'b', good)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))

  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
})

test('a scope whose address goes to another Service while the scope is in flight holds the new cluster only', () => {
  const link = delivered('b')
  putService(link.store, 'a', good)
  while (link.envoy.inbox.every(({ typeUrl }) => typeUrl !== scope)) {
    link.hear()
    link.envoy.receive(link.nacks)
    while (link.send());
  }
  moveAddress(link.store)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
})

test('an address that went to another Service while Envoy was away leaves the old cluster before that is removed', () => {
  const link = delivered('b')
  putService(link.store, 'a', { ...good, listener: undefined })
  link.drain()
  moveAddress(link.store)
  link.reconnect()
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))
})
