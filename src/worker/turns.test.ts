import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTurnOver, nextTurn } from './turns.ts'

test('work that goes on and on lets others come in between', { timeout: 10_000 }, async () => {
  let hasCome = false
  setImmediate(() => {
    hasCome = true
  })
  while (!isTurnOver()) assert.equal(hasCome, false)
  await nextTurn()
  assert.equal(hasCome, true)
  assert.equal(isTurnOver(), false)
})

test('many short works after each other take no more of a turn than a long one', { timeout: 10_000 }, async () => {
  let hasCome = false
  setImmediate(() => {
    hasCome = true
  })
  const work = async () => {
    const end = performance.now() + 3
    while (performance.now() < end) if (isTurnOver()) await nextTurn()
  }
  for (let works = 0; works < 4; works++) await work()
  assert.equal(hasCome, true)
})
