import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Drains, type FrontendActivity } from './drains.ts'
import { Lifecycle } from './lifecycle.ts'

interface SetUp {
  readonly drainMs?: number
  readonly quietMs?: number
  /** What Envoy answers when it is asked for the nth time; the first is 1. */
  readonly says: (time: number) => FrontendActivity | undefined
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
    close: ({ id, state }) => void events.push(`close ${id}, ${state}`),
    finish: ({ id }) => void events.push(`finish ${id} after ${asked}`),
  })
  const end = async () => {
    while (drains.size > 0) await delay(2)
    return events
  }
  return { drains, end }
}

/** A frontend of which the kernel redirects nothing any more. */
function draining(id: string): Lifecycle {
  const life = new Lifecycle(id)
  for (const event of ['wanted', 'published', 'unwanted', 'kernelSynced'] as const) life.on(event)
  return life
}

const quiet = { open: 0, answers: 0 }
const busy = { open: 1, answers: 0 }

describe('a drain', () => {
  test('ends when the connections are gone, and not before', async () => {
    const { drains, end } = setUp({ says: time => (time <= 3 ? busy : quiet) })
    drains.start(draining('a'))
    const [event, ...others] = await end()
    assert.match(event!, /^finish a after ([4-9]|\d\d)/)
    assert.deepEqual(others, [])
  })
  test('closes when its time is over, and ends whatever is open', async () => {
    const { drains, end } = setUp({ drainMs: 20, says: () => busy })
    drains.start(draining('a'))
    const [first, second] = await end()
    assert.equal(first, 'close a, closing')
    assert.match(second!, /^finish a/)
  })
  test('goes on while there are answers, even if nothing was open whenever Envoy was asked', async () => {
    const { drains, end } = setUp({ quietMs: 20, says: time => ({ open: 0, answers: Math.min(time, 10) }) })
    drains.start(draining('a'))
    assert.match((await end())[0]!, /^finish a after (1[1-9]|[2-9]\d)/)
  })
  test('is not over at the first probe, which does not know what was answered before', async () => {
    const { drains, end } = setUp({ says: time => ({ open: 0, answers: Math.min(time, 4) }) })
    drains.start(draining('a'))
    assert.match((await end())[0]!, /^finish a after ([5-9]|\d\d)/)
  })
  test('goes on while Envoy does not answer', async () => {
    const { drains, end } = setUp({ says: time => (time <= 3 ? undefined : quiet) })
    drains.start(draining('a'))
    assert.match((await end())[0]!, /^finish a after ([4-9]|\d\d)/)
  })
  test('that is cancelled never ends', async () => {
    const { drains, end } = setUp({ says: () => quiet })
    const a = draining('a')
    drains.start(a)
    drains.start(draining('b'))
    drains.cancel(a)
    assert.match((await end()).join(), /^finish b after \d+$/)
  })
  test('of more than twenty ports of a namespace waits for others before it closes, and not for those of another namespace', () => {
    const { drains } = setUp({ says: () => busy })
    const greedy = Array.from({ length: 21 }, (_, i) => draining(`greedy/s/${i}`))
    const modest = draining('modest/s/0')
    for (const life of [...greedy, modest]) drains.start(life)
    assert.deepEqual(
      greedy.map(life => drains.close(life)),
      greedy.map((_, i) => i < 20),
    )
    assert.equal(drains.close(modest), true)
    drains.cancel(greedy[3]!)
    assert.equal(drains.close(greedy[20]!), true)
    drains.stop()
  })
})
