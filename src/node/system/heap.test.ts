import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoadingHeap } from './heap.ts'

test('what loading leaves behind is collected once it is over', async () => {
  const heap = new LoadingHeap()
  heap.begin()
  const left = new WeakRef(loaded())
  await new Promise(resolve => setTimeout(resolve, 1))
  await heap.settle()
  assert.equal(left.deref(), undefined)
})

test('pages go back of which little stays', async () => {
  const heap = new LoadingHeap()
  heap.begin()
  const kept = loadedAround()
  await new Promise(resolve => setTimeout(resolve, 1))
  await heap.settle()
  const { heapTotal, heapUsed } = process.memoryUsage()
  assert.ok(kept.length > 0)
  assert.ok(heapTotal < 1.3 * heapUsed, `${heapTotal} bytes for ${heapUsed}`)
})

/** Every fourth of what there was. */
function loadedAround(): readonly object[] {
  const all = Array.from({ length: 2_000_000 }, (_, i) => ({ i }))
  return all.filter(({ i }) => i % 4 === 0)
}

/** Old enough that a collection of young objects leaves it. */
function loaded(): object {
  let all: object[] = []
  for (let i = 0; i < 2_000_000; i++) all.push({ i })
  const last = all.at(-1)!
  all = []
  return { last }
}
