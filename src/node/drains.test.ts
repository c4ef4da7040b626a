import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Drains, type PortActivity } from './drains.ts'

interface SetUp {
  readonly drainMs?: number
  readonly quietMs?: number
  readonly found: ReadonlyMap<string, PortActivity> | undefined
}

function setUp({ drainMs = 60e3, quietMs = 0, found }: SetUp) {
  const closed: string[] = []
  const finished: string[] = []
  const answers = { found, asked: 0 }
  const drains = new Drains({
    drainMs,
    intervalMs: 5,
    quietMs: () => quietMs,
    activity: async () => {
      answers.asked++
      return answers.found
    },
    close: id => void closed.push(id),
    finish: id => void finished.push(id),
  })
  /** Until Envoy was asked so many times more. */
  const asked = async (times: number) => {
    const until = answers.asked + times
    while (answers.asked < until) await delay(2)
    await delay(2)
  }
  const end = async () => {
    while (drains.size > 0) await delay(2)
  }
  return { drains, closed, finished, answers, asked, end }
}

const busy = { open: 1, answers: 0 }

describe('a drain', () => {
  test('ends when the connections are gone, and not before', async () => {
    const { drains, finished, answers, asked, end } = setUp({ found: new Map([['a', busy]]) })
    drains.start('a')
    await asked(3)
    assert.deepEqual(finished, [])
    answers.found = new Map()
    await end()
    assert.deepEqual(finished, ['a'])
  })
  test('ends when the drain time has passed, whatever is open, and says so before', async () => {
    const { drains, closed, finished, end } = setUp({ drainMs: 20, found: new Map([['a', busy]]) })
    drains.start('a')
    while (closed.length === 0) await delay(2)
    assert.deepEqual([closed, finished, drains.isOver('a')], [['a'], [], true])
    await end()
    assert.deepEqual([closed, finished], [['a'], ['a']])
  })
  test('goes on while there are answers, though nothing was open whenever Envoy was asked', async () => {
    const { drains, finished, answers, asked, end } = setUp({ quietMs: 300, found: new Map() })
    drains.start('a')
    const began = performance.now()
    for (let i = 1; performance.now() - began < 400; i++) {
      answers.found = new Map([['a', { open: 0, answers: i }]])
      await asked(1)
    }
    assert.deepEqual(finished, [])
    await end()
    assert.deepEqual(finished, ['a'])
  })
  test('goes on while Envoy does not say', async () => {
    const { drains, finished, asked } = setUp({ found: undefined })
    drains.start('a')
    await asked(3)
    assert.deepEqual(finished, [])
    drains.stop()
  })
  test('that is cancelled never ends', async () => {
    const { drains, finished, end } = setUp({ found: new Map() })
    drains.start('a')
    drains.start('b')
    drains.cancel('a')
    await end()
    assert.deepEqual(finished, ['b'])
  })
})
