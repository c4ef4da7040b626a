import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff } from '../watch/backoff.ts'
import { pauseMs } from './pause.ts'

test('an agent comes back soon after a stream that served, and ever later where none does or each ends at once', () => {
  for (const servedMs of [undefined, 10]) {
    const backoff = new Backoff()
    const pauses = Array.from({ length: 12 }, () => pauseMs(servedMs, backoff))
    assert.ok(pauses[0]! <= 200 && pauses.at(-1)! >= 15_000, `${servedMs}: ${pauses}`)
    assert.ok(pauseMs(60_000, backoff) <= 1000)
    assert.ok(pauseMs(servedMs, backoff) <= 200)
  }
})
