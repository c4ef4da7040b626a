import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from './turns.ts'

test('work that goes on and on lets others come in between', { timeout: 10_000 }, async () => {
  let hasCome = false
  setImmediate(() => {
    hasCome = true
  })
  const turns = new Turns()
  while (!turns.isOver) assert.equal(hasCome, false)
  await turns.next()
  assert.equal(hasCome, true)
  assert.equal(turns.isOver, false)
})
