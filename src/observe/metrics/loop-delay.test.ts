import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { watchLoopDelay } from './loop-delay.ts'

test('The longest delay of the event loop is told once, and then of what follows', async () => {
  const longest = watchLoopDelay()
  await pause(60)
  longest()
  // It measures from its next look on.
  await pause(60)
  const until = performance.now() + 300
  while (performance.now() < until);
  await pause(60)
  assert.ok(longest() > 0.2)
  assert.ok(longest() < 0.2)
})
