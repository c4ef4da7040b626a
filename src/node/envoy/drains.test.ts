import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Drains, type PortActivity } from './drains.ts'

interface SetUp {
  readonly drainMs?: number
  readonly quietMs?: number
  /** What Envoy says when it is asked for this time; the first is 1. */
  readonly says: (time: number) => PortActivity | undefined
}

function setUp({ drainMs = 60e3, quietMs = 0, says }: SetUp) {
  const events: string[] = []
  let asked = 0
  const drains = new Drains({
    drainMs,
    intervalMs: 5,
    quietMs: () => quietMs,
    activity: async ids => {
      asked++
      const activity = says(asked)
      return activity && new Map(ids.map(id => [id, activity]))
    },
    close: id => void events.push(`close ${id}${drains.isEnding(id) ? ', ending' : ''}`),
    finish: id => void events.push(`finish ${id} after ${asked}`),
  })
  const end = async () => {
    while (drains.size > 0) await delay(2)
    return events
  }
  return { drains, end }
}

const quiet = { open: 0, answers: 0 }
const busy = { open: 1, answers: 0 }

describe('a drain', () => {
  test('ends when the connections are gone, and not before', async () => {
    const { drains, end } = setUp({ says: time => (time <= 3 ? busy : quiet) })
    drains.start('a')
    const [event, ...others] = await end()
    assert.match(event!, /^finish a after ([4-9]|\d\d)/)
    assert.deepEqual(others, [])
  })
  test('whose time is over says so, and ends whatever is open', async () => {
    const { drains, end } = setUp({ drainMs: 20, says: () => busy })
    drains.start('a')
    const [first, second] = await end()
    assert.equal(first, 'close a, ending')
    assert.match(second!, /^finish a/)
  })
  test('goes on while there are answers, though nothing was open whenever Envoy was asked', async () => {
    const { drains, end } = setUp({ quietMs: 20, says: time => ({ open: 0, answers: Math.min(time, 10) }) })
    drains.start('a')
    assert.match((await end())[0]!, /^finish a after (1[1-9]|[2-9]\d)/)
  })
  test('is not over at the first look, which does not know what was answered before', async () => {
    const { drains, end } = setUp({ says: time => ({ open: 0, answers: Math.min(time, 4) }) })
    drains.start('a')
    assert.match((await end())[0]!, /^finish a after ([5-9]|\d\d)/)
  })
  test('goes on while Envoy does not say', async () => {
    const { drains, end } = setUp({ says: time => (time <= 3 ? undefined : quiet) })
    drains.start('a')
    assert.match((await end())[0]!, /^finish a after ([4-9]|\d\d)/)
  })
  test('that is cancelled never ends', async () => {
    const { drains, end } = setUp({ says: () => quiet })
    drains.start('a')
    drains.start('b')
    drains.cancel('a')
    assert.match((await end()).join(), /^finish b after \d+$/)
  })
  test('of more than twenty ports of a namespace waits for others before its connections are told to end, and not for those of another namespace', () => {
    const { drains } = setUp({ says: () => busy })
    const ids = Array.from({ length: 21 }, (_, i) => `greedy/s/${i}`)
    for (const id of [...ids, 'modest/s/0']) drains.start(id)
    assert.deepEqual(
      ids.map(id => drains.end(id)),
      ids.map((_, i) => i < 20),
    )
    assert.equal(drains.end('modest/s/0'), true)
    drains.cancel(ids[3]!)
    assert.equal(drains.end(ids[20]!), true)
    drains.stop()
  })
})
