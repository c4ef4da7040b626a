import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { EnvoyBudget } from '../../plan/envoy/budget.ts'
import type { Note } from '../../services/note.ts'
import { UseWatch } from './usewatch.ts'

test('an Event on the node says when not all ports fit into Envoy any more, and when they do again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const budget = new EnvoyBudget({ limit: 1, followsUse: true })
  const use = new UseWatch({
    ...{ nodeName: 'node1', budget, log: pino({ level: 'silent' }), onMoved: () => {} },
    calls: async () => new Map(),
    activity: async () => undefined,
  })
  const notes: Note[] = []
  use.tell(note => notes.push(note))
  const probe = async () => {
    t.mock.timers.tick(10_000)
    await new Promise(setImmediate)
  }
  budget.has('shop/one/http', false)
  use.watch()
  await probe()
  assert.equal(notes.length, 0)
  budget.has('shop/two/http', false)
  await probe()
  await probe()
  budget.remove('shop/two/http')
  await probe()
  use.stop()
  assert.deepEqual(
    notes.map(({ object, reason }) => [object, reason]),
    [
      ['Node node1', 'EnvoyByUse'],
      ['Node node1', 'EnvoyTakesAll'],
    ],
  )
  assert.match(notes[0]!.message, /--envoy-ports=1.*called most recently.*the kernel layer serves the others/)
})
