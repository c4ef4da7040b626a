import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Difference } from './compare.ts'
import { probeUntilSettled } from './probe.ts'

function about(service: string, found = '1 endpoints'): Difference {
  return { service, port: '80', frontend: '10.96.0.1:80/TCP', what: 'the frontend', found, expected: 'none' }
}

/** Probes that find these, one after the other, and then the last of them for ever. */
async function settled(...finds: readonly (readonly Difference[])[]): Promise<readonly Difference[]> {
  let look = 0
  const next = async () => finds[Math.min(look++, finds.length - 1)]!
  return probeUntilSettled(next, async () => {})
}

const [a, b] = [about('a'), about('b')]

test('no difference at the first probe is none', async () => assert.deepEqual(await settled([]), []))
test('a difference that stays is reported', async () => assert.deepEqual(await settled([a]), [a]))
test('a difference that was on its way is not', async () => assert.deepEqual(await settled([a], []), []))
test('one that stays is reported without one that was on its way', async () =>
  assert.deepEqual(await settled([a, b], [b]), [b]))
test('one that came meanwhile is probed once more', async () => {
  assert.deepEqual(await settled([a], [a, b], [a]), [a])
  assert.deepEqual(await settled([a], [a, b]), [a, b])
})
test('one that changes at every probe is not reported, those beside it are', async () => {
  const finds = Array.from({ length: 9 }, (_, look) => [a, about('b', `${look} endpoints`)])
  assert.deepEqual(await settled(...finds), [a])
})
