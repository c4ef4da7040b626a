import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sharedList } from './raw.ts'
import { Sharing } from './sharing.ts'

test('equal values are held once', () => {
  const sharing = new Sharing<object>(1000)
  const first = {}
  assert.equal(sharing.share('a', first), first)
  assert.equal(sharing.share('a', {}), first)
})

test('however many values come, and however long, no more is held than the bound and one value', () => {
  const most = 100_000
  const sharing = new Sharing<object>(most)
  for (let i = 0; i < 2000; i++) {
    sharing.share(`${i}`.padEnd(1 + ((i * 37) % 40_000), 'x'), {})
    assert.ok(sharing.length < most + 20_000, `${sharing.length} characters`)
  }
})

test('what is long is not held on to when its object is gone', () => {
  const ports = () => Array.from({ length: 5000 }, (_, i) => ({ name: `http-${i}`, port: i }))
  assert.notEqual(sharedList(ports()), sharedList(ports()))
})
