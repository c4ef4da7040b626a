import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Resource, type ResourceRef, typeUrls } from '../envoy/resource.ts'
import { ResourceStore } from './store.ts'

const resource = (name: string, version: string): Resource => ({
  typeUrl: typeUrls.cluster,
  name,
  version,
  encode: () => Uint8Array.of(1),
  requires: [],
})

function recorded(): { store: ResourceStore; batches: string[][] } {
  const store = new ResourceStore()
  const batches: string[][] = []
  store.onChange((changed: readonly ResourceRef[]) => batches.push(changed.map(({ name }) => name)))
  return { store, batches }
}

test('one update is one batch, reported once all of it is in place', () => {
  const store = new ResourceStore()
  const seen: (string | undefined)[] = []
  store.update({ put: [resource('old', '1')] })
  store.onChange(() => seen.push(...['a', 'b', 'old'].map(name => store.get(typeUrls.cluster, name)?.version)))
  store.update({ put: [resource('a', '1'), resource('b', '2')], remove: [resource('old', '')] })
  assert.deepEqual(seen, ['1', '2', undefined])
})

test('an unchanged version and a removal of what is not there are no changes', () => {
  const { store, batches } = recorded()
  store.update({ put: [resource('a', '1')] })
  store.update({ put: [resource('a', '1')], remove: [resource('b', '')] })
  store.update({ put: [resource('a', '1'), resource('c', '1')] })
  assert.deepEqual(batches, [['a'], ['c']])
})

test('a resource of the same version that requires something else is a change', () => {
  const { store, batches } = recorded()
  const requires = [{ typeUrl: typeUrls.cluster, name: 'b' }]
  store.update({ put: [resource('a', '1')] })
  store.update({ put: [{ ...resource('a', '1'), requires }] })
  store.update({ put: [{ ...resource('a', '1'), requires: [...requires] }] })
  assert.deepEqual(batches, [['a'], ['a']])
  assert.deepEqual(store.get(typeUrls.cluster, 'a')?.requires, requires)
})

test('a resource that is removed and put in one update stays', () => {
  const { store, batches } = recorded()
  store.update({ put: [resource('a', '1')] })
  store.update({ put: [resource('a', '1')], remove: [resource('a', '')] })
  assert.deepEqual(batches, [['a']])
  assert.equal(store.get(typeUrls.cluster, 'a')?.version, '1')
})

test('a listener that has unsubscribed gets nothing more', () => {
  const { store, batches } = recorded()
  const others: number[] = []
  const stop = store.onChange(changed => others.push(changed.length))
  stop()
  store.update({ put: [resource('a', '1')] })
  assert.equal(batches.length, 1)
  assert.deepEqual(others, [])
})
