import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SilenceLooks } from './silencelooks.ts'

/** Which of these moments, with the timeouts until then, have a look; `silent`: when it finds a silent connection. */
function looksAt(
  moments: readonly (readonly [now: number, timeouts: number | undefined])[],
  silent: readonly number[] = [],
): readonly number[] {
  const looks = new SilenceLooks()
  return moments.flatMap(([now, timeouts]) => {
    if (!looks.isDue(now, timeouts)) return []
    looks.looked(now, timeouts, silent.includes(now))
    return [now]
  })
}

const quiet = [0, 250, 500, 750, 1000, 1250].map(now => [now, 7] as const)

test('where nothing times out the kernel is asked once a second', () => {
  assert.deepEqual(looksAt(quiet), [0, 1000])
})

test('it is asked at once after a timeout, and again and again while a connection is silent', () => {
  assert.deepEqual(
    looksAt([
      [0, 7],
      [250, 8],
      [500, 8],
    ]),
    [0, 250],
  )
  assert.deepEqual(looksAt(quiet, [0, 250]), [0, 250, 500])
})

test('it is asked each time where timeouts cannot be read', () => {
  const unknown = quiet.map(([now]) => [now, undefined] as const)
  assert.deepEqual(looksAt(unknown).length, unknown.length)
})
