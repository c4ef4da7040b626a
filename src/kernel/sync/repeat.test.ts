import assert from 'node:assert/strict'
import { test } from 'node:test'
import { repeat } from './repeat.ts'

test('a check that takes long once comes again as usual, and one that does so each time keeps to its share', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const pass = async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await new Promise(setImmediate)
  }
  const durations = [1, 100, 1, 100, 100, 1]
  const beganAt: number[] = []
  const check = async () => {
    now += durations[beganAt.push(now) - 1] ?? 0
  }
  const task = repeat(check, 20, 0.1)
  while (beganAt.length < durations.length) await pass(1)
  task.stop()
  const pauses = beganAt.slice(1).map((began, index) => began - beganAt[index]! - durations[index]!)
  assert.deepEqual(pauses, [20, 20, 20, 20, 900])
})
