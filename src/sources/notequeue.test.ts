import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Note } from '../services/note.ts'
import { NoteQueue } from './notequeue.ts'

const noteOn = (object: string): Note => ({ object, type: 'Normal', reason: 'Test', message: object })

function taken(queue: NoteQueue): readonly string[] {
  const objects: string[] = []
  for (let note = queue.take(); note; note = queue.take()) objects.push(note.object)
  return objects
}

describe('the queue of notes', () => {
  test('gives each namespace its turn, and nodes theirs', () => {
    const queue = new NoteQueue(10)
    for (const object of ['Service a/1', 'Service a/2', 'Pod a/3', 'Service b/1', 'Node n'])
      assert.equal(queue.add(noteOn(object)), false)
    assert.deepEqual(taken(queue), ['Service a/1', 'Service b/1', 'Node n', 'Service a/2', 'Pod a/3'])
  })

  test('drops none of a namespace that has few, however many others have', () => {
    const queue = new NoteQueue(1000)
    queue.add(noteOn('Service modest/1'))
    for (let n = 0; n < 10_000; n++) queue.add(noteOn(`Service greedy-${n % 100}/${n}`))
    queue.add(noteOn('Service modest/2'))
    const all = taken(queue)
    assert.equal(all.length, 1000)
    assert.deepEqual(
      all.filter(object => object.includes('modest')),
      ['Service modest/1', 'Service modest/2'],
    )
    assert.ok(all.indexOf('Service modest/2') < 202)
  })
})
