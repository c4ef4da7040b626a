import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Activity } from '../../envoy/program/admin.ts'
import { HttpAnswers } from './httpanswers.ts'

/** An Envoy whose clusters have answered 2xx so often. */
function envoy(everyMs: number, counts: Readonly<Record<string, number>> = {}) {
  const readings: number[] = []
  const activity: Activity = {
    connections: () => 0,
    requests: () => 0,
    answers: (cluster, hundreds = []) => (hundreds.includes(2) ? (counts[cluster] ?? 0) : 0),
  }
  const answers = new HttpAnswers(async () => {
    readings.push(performance.now())
    return activity
  }, everyMs)
  return { answers, readings }
}

test('whatever number of ports is asked about, the statistics are read once in a while', async () => {
  const { answers, readings } = envoy(300)
  const ask = () => Promise.all(Array.from({ length: 100 }, (_, i) => answers.has(`a/b/${i}`)))
  await ask()
  assert.equal(readings.length, 1)
  await Promise.all([ask(), ask()])
  await ask()
  assert.equal(readings.length, 3)
  for (const i of [1, 2]) assert.ok(readings[i]! - readings[i - 1]! > 290, `${readings}`)
})

test('an answer is never older than the question', async () => {
  const counts: Record<string, number> = {}
  const { answers } = envoy(100, counts)
  assert.equal(await answers.has('a/b/http'), false)
  await sleep(10)
  counts['a/b/http'] = 1
  assert.equal(await answers.has('a/b/http'), true)
})

test('what external clients are answered counts, too', async () => {
  const { answers } = envoy(1, { 'a/b/http/external': 1 })
  assert.deepEqual(await Promise.all(['a/b/http', 'a/b/other'].map(port => answers.has(port))), [true, false])
})

test('it is not known while Envoy does not answer', async () => {
  assert.equal(await new HttpAnswers(async () => undefined, 1).has('a/b/http'), undefined)
})
