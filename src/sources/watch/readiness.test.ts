import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Readiness } from './readiness.ts'

const never = new AbortController().signal

test('everybody who waits for a server that is away learns of its return, and one asks for all', async () => {
  let isThere = false
  let asked = 0
  const readiness = new Readiness(async () => {
    asked++
    return isThere
  })
  const pauses = Array.from({ length: 20 }, () => readiness.pause(60_000, never))
  await setTimeout(300)
  assert.ok(asked < 10, `${asked} questions`)
  isThere = true
  assert.deepEqual(new Set(await Promise.all(pauses)), new Set([true]))
})

test('where the server is ready and a request fails all the same, its pause lasts', async () => {
  const readiness = new Readiness(async () => true)
  const began = performance.now()
  assert.equal(await readiness.pause(200, never), false)
  assert.ok(performance.now() - began > 150)
})

test('a pause ends with its watch', async () => {
  const stopping = new AbortController()
  const pause = new Readiness(async () => false).pause(60_000, stopping.signal)
  stopping.abort()
  assert.equal(await pause, false)
})
