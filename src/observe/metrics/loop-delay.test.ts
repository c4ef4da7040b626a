import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { watchLoopDelay } from './loop-delay.ts'

test('the longest delay of the event loop is reported once, and then only later ones', async () => {
  const longest = watchLoopDelay()
  await pause(60)
  longest()
  // It measures from its next tick on.
  await pause(60)
  const until = performance.now() + 300
  while (performance.now() < until);
  await pause(60)
  assert.ok(longest() > 0.2)
  assert.ok(longest() < 0.2)
})
