import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, Stall } from './stall.ts'

const [first, second] = [11n, 12n]

function connection(cookie: bigint, more: Partial<Connection> = {}): Connection {
  return { cookie, inode: Number(cookie), unread: 0, read: 100, written: 100, cgroup: first, ...more }
}

/** How many looks in a row have found each cgroup's connections standing still, after the last look. */
function looksAfter(...looks: readonly (readonly Connection[])[]) {
  const stall = new Stall()
  return looks.map(one => Object.fromEntries(stall.look(one))).at(-1)
}

const waiting = connection(1n, { unread: 10 })
const idle = connection(2n)

test('an Envoy that leaves unread what is there, and does nothing else, stands still', () => {
  assert.deepEqual(looksAfter([waiting, idle], [waiting, idle], [waiting, idle]), { [`${first}`]: 2 })
})

test('what clients do is no progress: more comes, they connect, and they end', () => {
  const more = connection(1n, { unread: 30 })
  const closed = connection(2n, { unread: 1, read: 99 })
  const notAccepted = connection(3n, { inode: 0, unread: 40, read: 0 })
  assert.deepEqual(looksAfter([waiting, idle], [more, closed, notAccepted], [more, notAccepted]), { [`${first}`]: 2 })
})

test('one byte read or written on any connection, or one accepted, is progress', () => {
  const pending = connection(3n, { inode: 0 })
  for (const moved of [connection(2n, { read: 101 }), connection(2n, { written: 101 }), connection(3n, { inode: 3 })]) {
    assert.deepEqual(looksAfter([waiting, idle, pending], [waiting, idle, pending], [waiting, moved]), {
      [`${first}`]: 0,
    })
  }
})

test('without anything to read an Envoy does not stand still, nor when it has just come', () => {
  assert.deepEqual(looksAfter([idle], [idle], [idle]), { [`${first}`]: 0 })
  assert.deepEqual(looksAfter([idle], [idle, waiting]), { [`${first}`]: 0 })
})

test('of two Envoys the one that goes on says nothing of the other, but by cgroups', () => {
  const other = (read: number, cgroup: bigint) => connection(9n, { read, cgroup })
  assert.deepEqual(looksAfter([waiting, other(1, second)], [waiting, other(2, second)]), {
    [`${first}`]: 1,
    [`${second}`]: 0,
  })
  assert.deepEqual(looksAfter([waiting, other(1, first)], [waiting, other(2, first)]), { [`${first}`]: 0 })
})
