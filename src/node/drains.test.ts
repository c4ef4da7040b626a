import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Drains } from './drains.ts'

function setUp(drainMs: number, open: Map<string, number> | undefined) {
  const finished: string[] = []
  const answers = { open, asked: 0 }
  const drains = new Drains({
    drainMs,
    intervalMs: 5,
    connections: async () => {
      answers.asked++
      return answers.open
    },
    finish: id => void finished.push(id),
  })
  /** Until Envoy was asked so many times more. */
  const asked = async (times: number) => {
    const until = answers.asked + times
    while (answers.asked < until) await delay(2)
    await delay(2)
  }
  return { drains, finished, answers, asked }
}

describe('a drain', () => {
  test('ends when the connections are gone, and not before', async () => {
    const { drains, finished, answers, asked } = setUp(60e3, new Map([['a', 1]]))
    drains.start('a')
    await asked(2)
    assert.deepEqual(finished, [])
    answers.open = new Map()
    await asked(1)
    assert.deepEqual(finished, ['a'])
    assert.equal(drains.size, 0)
  })
  test('ends when the drain time has passed, whatever is open', async () => {
    const { drains, finished, asked } = setUp(0, new Map([['a', 1]]))
    drains.start('a')
    await asked(1)
    assert.deepEqual(finished, ['a'])
  })
  test('goes on while Envoy does not say', async () => {
    const { drains, finished, asked } = setUp(60e3, undefined)
    drains.start('a')
    await asked(2)
    assert.deepEqual(finished, [])
    drains.stop()
  })
  test('that is cancelled never ends', async () => {
    const { drains, finished, asked } = setUp(60e3, new Map())
    drains.start('a')
    drains.start('b')
    drains.cancel('a')
    await asked(1)
    assert.deepEqual(finished, ['b'])
  })
})
