import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { FairQueue } from './fairqueue.ts'

function setUp(t: { mock: { method(object: Performance, name: 'now', now: () => number): unknown } }) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const done: string[] = []
  const queue: FairQueue<string> = new FairQueue(items => {
    now += 15
    done.push(...items)
  })
  return { queue, done }
}

describe('Work for Service ports', () => {
  test('is done at once where there is little', t => {
    const { queue, done } = setUp(t)
    queue.add('a', 'a', 10)
    queue.run()
    assert.deepEqual(done, ['a'])
  })

  test('that is small goes before what is large, also before what came earlier', async t => {
    const { queue, done } = setUp(t)
    for (const id of ['A', 'B', 'C', 'D', 'E']) queue.add(id, id, 5000)
    queue.run()
    assert.deepEqual(done, ['A', 'B'])
    queue.add('small', 'small', 10)
    queue.run()
    assert.deepEqual(done, ['A', 'B', 'small'])
    while (done.length < 6) await setImmediate()
    assert.deepEqual(done, ['A', 'B', 'small', 'C', 'D', 'E'])
  })

  test('is done once, in its latest form, and not where it is no longer wanted', async t => {
    const { queue, done } = setUp(t)
    for (const id of ['A', 'B', 'C', 'D']) queue.add(id, `${id}1`, 5000)
    queue.run()
    queue.add('C', 'C2', 5000)
    queue.remove('D')
    queue.add('E', 'E1', 5000)
    queue.add('E', 'E2', 1)
    queue.run()
    for (let turn = 0; turn < 10; turn++) await setImmediate()
    assert.deepEqual(done, ['A1', 'B1', 'E2', 'C2'])
  })

  test('is all done when it has to be', t => {
    const { queue, done } = setUp(t)
    for (const id of ['A', 'B', 'C', 'D']) queue.add(id, id, 5000)
    queue.finish()
    assert.deepEqual(done, ['A', 'B', 'C', 'D'])
  })
})
