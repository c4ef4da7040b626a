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

/** Old enough that a collection of young objects leaves it. */
function loaded(): object {
  let all: object[] = []
  for (let i = 0; i < 2_000_000; i++) all.push({ i })
  const last = all.at(-1)!
  all = []
  return { last }
}
