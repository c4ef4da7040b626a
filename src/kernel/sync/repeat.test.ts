import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { repeat } from './repeat.ts'

/** Checks that begin at 0 and take so long, one after another. Returns when each began. */
async function checksOf(t: TestContext, durations: readonly number[], inStep: boolean): Promise<readonly number[]> {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const pass = async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await new Promise(setImmediate)
  }
  const beganAt: number[] = []
  const check = async () => {
    now += durations[beganAt.push(now) - 1] ?? 0
  }
  const task = repeat(check, 20, 0.1, inStep)
  while (beganAt.length < durations.length) await pass(1)
  task.stop()
  return beganAt
}

test('a check that takes long once comes again as usual, and one that does so each time keeps to its share', async t => {
  const durations = [1, 100, 1, 100, 100, 1]
  const beganAt = await checksOf(t, durations, false)
  const pauses = beganAt.slice(1).map((began, index) => began - beganAt[index]! - durations[index]!)
  assert.deepEqual(pauses, [20, 20, 20, 20, 900])
})

test('checks in step begin at multiples of their time, however long each takes', async t => {
  assert.deepEqual(await checksOf(t, [1, 8, 1, 25, 1, 3, 3, 1], true), [20, 40, 60, 80, 120, 140, 160, 200])
})
