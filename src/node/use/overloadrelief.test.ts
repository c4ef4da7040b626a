import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { HeldBack } from '../../plan/envoy/heldback.ts'
import type { Note } from '../../services/note.ts'
import { type EnvoyConnections, heaviest } from './heaviest.ts'
import { OverloadRelief } from './overloadrelief.ts'

describe('the ports that fill Envoy', () => {
  test('are the fewest that have half of all connections', () => {
    const connections = new Map(Object.entries({ quiet: 1, loud: 500, busy: 100, other: 30 }))
    assert.deepEqual(heaviest(connections), ['loud'])
    assert.deepEqual(heaviest(new Map(Object.entries({ a: 3, b: 4, c: 2, d: 1 }))), ['b', 'a'])
    assert.deepEqual(heaviest(new Map()), [])
  })

  test('are ten at most', () => {
    assert.equal(heaviest(new Map(Array.from({ length: 100 }, (_, i) => [`port-${i}`, 1]))).length, 10)
  })

  test('of connections that are spread over many ports, those of the namespace that has most count', () => {
    const greedy = Array.from({ length: 1000 }, (_, n) => [`greedy-${n % 10}/port-${n}/http`, 60 + (n % 10)] as const)
    const found = heaviest(new Map([['modest/web/http', 500], ...greedy]))
    assert.equal(found.length, 10)
    assert.ok(found.every(id => id.startsWith('greedy-9/')))
  })
})

const connectionsOf = (byPort: Readonly<Record<string, number>>): EnvoyConnections => {
  const counts = Object.entries(byPort)
  return { total: counts.reduce((sum, [, count]) => sum + count, 0), byPort: new Map(counts) }
}

describe('when Envoy is overloaded', () => {
  const [loud, quiet] = ['shop/loud/http', 'shop/quiet/http'] as const
  const relief = (connections: () => Promise<EnvoyConnections>) => {
    const heldBack = new HeldBack()
    const moved: string[] = []
    const notes: Note[] = []
    const log = pino({ level: 'silent' })
    const onMoved = (ids: readonly string[]) => void moved.push(...ids)
    const overload = new OverloadRelief({ nodeName: 'node1', heldBack, connections, onMoved, log, holdMs: 600e3 })
    overload.tell(note => notes.push(note))
    return { heldBack, moved, notes, overload }
  }

  test('the heaviest port is held back for a while, and its owner gets an Event', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { heldBack, moved, notes, overload } = relief(async () => connectionsOf({ [loud]: 90, [quiet]: 10 }))
    await overload.relieve('memory')
    assert.match(heldBack.why(loud)!, /short of memory/)
    assert.equal(heldBack.why(quiet), undefined)
    const [note] = notes
    assert.deepEqual([note!.object, note!.reason, notes.length], ['Service shop/loud', 'EnvoyOverloaded', 1])
    assert.match(note!.message, /port http has most connections there \(90\).* for 10 minutes/)
    t.mock.timers.tick(600e3)
    assert.equal(heldBack.why(loud), undefined)
    assert.deepEqual(moved, [loud, loud])
  })

  test('the next one is held back when that was not enough', async () => {
    const { heldBack, moved, overload } = relief(async () => connectionsOf({ [loud]: 70, [quiet]: 30 }))
    await overload.relieve('memory')
    await overload.relieve('room for connections')
    assert.deepEqual(moved, [loud, quiet])
    assert.match(heldBack.why(quiet)!, /short of room for connections/)
    overload.stop()
  })

  test('nobody else is held back for the connections of a port that is held back already', async () => {
    const { moved, overload } = relief(async () => connectionsOf({ [loud]: 90, [quiet]: 10 }))
    await overload.relieve('room for connections')
    await overload.relieve('room for connections')
    assert.deepEqual(moved, [loud])
    overload.stop()
  })

  test('nobody is held back for connections to what Envoy has no more', async () => {
    const few = connectionsOf({ [quiet]: 10 })
    const { moved, overload } = relief(async () => ({ ...few, total: 1000 }))
    await overload.relieve('room for connections')
    assert.deepEqual(moved, [])
  })

  test('nothing is held back where nobody has connections, or they cannot be counted', async () => {
    for (const connections of [async () => connectionsOf({}), () => Promise.reject(new Error('EPERM'))]) {
      const { moved, notes, overload } = relief(connections)
      await overload.relieve('memory')
      assert.deepEqual([moved, notes], [[], []])
    }
  })
})
