import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairPlaces } from './fairplaces.ts'

const most = 8
const anyEvents = fc.array(
  fc.record({ owner: fc.constantFrom('a', 'b', 'c', 'd'), number: fc.nat(20), leaves: fc.boolean() }),
  { maxLength: 60 },
)

test('whoever asks for places, there are no more, and who has few is not refused for who has many', () => {
  fc.assert(
    fc.property(anyEvents, events => {
      const places = new FairPlaces(most)
      const taken = new Map<string, string>()
      const count = (of: string) => [...taken.values()].filter(owner => owner === of).length
      for (const { owner, number, leaves } of events) {
        const name = `${owner}${number}`
        if (leaves) {
          places.leave(name)
          taken.delete(name)
          continue
        }
        const before = count(owner)
        const { isTaken, instead } = places.take(name, owner)
        if (instead !== undefined) {
          assert.ok(count(taken.get(instead)!) > before + 1)
          taken.delete(instead)
        }
        if (isTaken) taken.set(name, owner)
        else for (const other of ['a', 'b', 'c', 'd']) assert.ok(count(other) <= before + 1)
        assert.ok(taken.size <= most)
        for (const one of taken.keys()) assert.ok(places.has(one))
      }
    }),
  )
})

test('the one with most loses what came last', () => {
  const places = new FairPlaces(3)
  for (const name of ['a1', 'a2', 'a3']) assert.deepEqual(places.take(name, 'a'), { isTaken: true })
  assert.deepEqual(places.take('a4', 'a'), { isTaken: false })
  assert.deepEqual(places.take('b1', 'b'), { isTaken: true, instead: 'a3' })
  assert.deepEqual(places.take('b2', 'b'), { isTaken: false })
  assert.deepEqual(places.take('a1', 'a'), { isTaken: true })
})
