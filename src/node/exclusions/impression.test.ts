import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isUnreachable } from '../../exclusions/observation.ts'
import type { Reached } from './connecting.ts'
import { type Impression, impressionAfter } from './impression.ts'

const anyFound = fc.constantFrom<(Reached | undefined)[]>('answers', 'refused', 'timed out', undefined)

test('an endpoint is said to fail after two refusals in a row, or silence, until two attempts in a row succeed', () => {
  fc.assert(
    fc.property(fc.array(anyFound), fc.constantFrom<Impression['seen'][]>(undefined, 'suspected'), (all, first) => {
      let before: Impression = { seen: first }
      for (const [i, found] of all.entries()) {
        const after = impressionAfter(before, found)
        const lastTwo = all.slice(Math.max(0, i - 1), i + 1)
        const bothAre = (is: (found: Reached | undefined) => boolean) => lastTwo.length === 2 && lastTwo.every(is)
        assert.equal(after.seen === undefined, found === undefined)
        if (bothAre(isUnreachable)) assert.equal(after.seen, found)
        else if (found === 'timed out') assert.equal(after.seen, found)
        else if (isUnreachable(found)) assert.ok(after.seen === 'suspected' || isUnreachable(before.seen))
        if (bothAre(one => one === 'answers')) assert.equal(after.seen, 'answers')
        else if (found === 'answers') assert.ok(after.seen === found || isUnreachable(before.seen))
        before = after
      }
    }),
  )
})
