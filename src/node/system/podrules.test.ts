import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PodRules } from './podrules.ts'

test('pods under rules that applied to no pod before are reported once, and changes are gathered', async (context: TestContext) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  let [sets, looks, told, fails] = [['a'], 0, 0, false]
  const rules = new PodRules({
    gatherMs: 100,
    read: async () => {
      looks++
      if (fails) throw new Error('busy')
      return sets
    },
    onNew: () => void told++,
  })
  const change = async () => {
    rules.changed()
    rules.changed()
    context.mock.timers.tick(100)
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    return [looks, told]
  }
  assert.deepEqual(await change(), [1, 1])
  assert.deepEqual(await change(), [2, 1])
  sets = ['b', 'a']
  fails = true
  assert.deepEqual(await change(), [3, 1])
  fails = false
  assert.deepEqual(await change(), [4, 2])
  sets = ['a']
  assert.deepEqual(await change(), [5, 2])
  sets = ['a', 'b']
  assert.deepEqual(await change(), [6, 2])
  await rules.stop()
  assert.deepEqual(await change(), [6, 2])
})
