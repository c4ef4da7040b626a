import assert from 'node:assert/strict'
import { test } from 'node:test'
import { typeUrls } from '../../envoy/resource.ts'
import { ResourceStore } from '../store.ts'
import { envoyTypes } from '../types.ts'
import { Link } from './testing/link.ts'
import { modelResource } from './testing/resource.ts'

const { cluster, listener } = typeUrls
const gate = { typeUrl: listener, name: 'gate' }
const good = { quality: 'good' } as const

function linkWithGate(): Link {
  const store = new ResourceStore()
  store.update({
    put: [
      modelResource(listener, 'gate', 'v1', good),
      modelResource(listener, 'a', 'v1', good, [{ typeUrl: cluster, name: 'a' }]),
      modelResource(cluster, 'a', 'v1', good),
    ],
  })
  return new Link({ types: envoyTypes, forActive: [gate] }, store)
}

function activeLink(): Link {
  const link = linkWithGate()
  link.client.setActive(true)
  link.drain()
  return link
}

test('a client settles without what only active ones have, and gets it once it is active', () => {
  const link = linkWithGate()
  link.drain()
  assert.equal(link.settled, 1)
  assert.deepEqual([...link.envoy.has.get(listener)!.keys()], ['a'])
  link.client.setActive(true)
  link.drain()
  assert.deepEqual([...link.envoy.has.get(listener)!.keys()], ['a', 'gate'])
  assert.equal(link.client.acknowledgedVersion(gate), 'v1')
})

test('a changed version of it does not reach a client that is not active', () => {
  const link = linkWithGate()
  link.drain()
  link.store.update({ put: [modelResource(listener, 'gate', 'v2', good)] })
  link.drain()
  assert.deepEqual([...link.envoy.has.get(listener)!.keys()], ['a'])
})

test('a client that is no longer active loses it and nothing else, and gets changes of the rest', () => {
  const link = activeLink()
  link.client.setActive(false)
  link.drain()
  assert.deepEqual(link.gone, [gate])
  link.store.update({ put: [modelResource(listener, 'b', 'v1', good)] })
  link.drain()
  assert.deepEqual([...link.envoy.has.get(listener)!.keys()], ['a', 'b'])
})

test('a client that ceases to be active while it is in flight loses it all the same', () => {
  const link = linkWithGate()
  link.drain()
  link.client.setActive(true)
  link.send()
  link.client.setActive(false)
  link.drain()
  assert.deepEqual([...link.envoy.has.get(listener)!.keys()], ['a'])
  assert.deepEqual(link.gone, [gate])
})

test('a client that had it before a reconnect counts as active and keeps it', () => {
  const link = activeLink()
  link.reconnect()
  link.drain()
  assert.equal(link.active, 1)
  assert.equal(link.client.acknowledgedVersion(gate), 'v1')
  assert.deepEqual(link.gone, [])
})

test('after a reconnect a client that had it in another version gets the new one', () => {
  const link = activeLink()
  link.store.update({ put: [modelResource(listener, 'gate', 'v2', good)] })
  link.reconnect()
  link.drain()
  assert.equal(link.active, 1)
  assert.equal(link.envoy.version(gate), 'v2')
})

test('a client that did not have it before a reconnect does not become active by that', () => {
  const link = linkWithGate()
  link.drain()
  link.reconnect()
  link.drain()
  assert.equal(link.active, 0)
  assert.equal(link.envoy.version(gate), undefined)
})
