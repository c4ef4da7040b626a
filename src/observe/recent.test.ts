import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentLines } from './recent.ts'

test('the last lines are kept, the oldest first, and their number is limited', () => {
  const recent = new RecentLines(2)
  assert.equal(recent.text(), '')
  for (const line of ['one\n', 'two\n', 'three']) recent.add(line)
  assert.equal(recent.text(), 'two\nthree\n')
  recent.add('x'.repeat(1_000_000))
  assert.equal(recent.text().length, 'three\n'.length + 4096 + 1)
})
