import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from './worker.ts'

/** So long a pause that no test lives to see its end. */
const gatherMs = 3600e3

test('what comes after a rest is done at once, with all that comes in the same turn', { timeout: 10_000 }, async t => {
  const { add, steps, worker } = countingWorker()
  t.after(() => worker.close())
  add(1)
  add(2)
  await worker.settled()
  assert.deepEqual(steps, [[1, 2]])
})

test('what follows on the heels of a step waits, so that it is gathered', { timeout: 10_000 }, async t => {
  const { add, steps, worker } = countingWorker()
  t.after(() => worker.close())
  add(1)
  await worker.settled()
  add(2)
  for (let turns = 0; turns < 100; turns++) await turn()
  assert.deepEqual(steps, [[1]])
})

test('what is not urgent waits after a rest, too, unless something urgent comes in the same turn', {
  timeout: 10_000,
}, async t => {
  const patient = countingWorker()
  const urged = countingWorker()
  t.after(() => Promise.all([patient.worker.close(), urged.worker.close()]))
  patient.add(1, false)
  urged.add(1, false)
  urged.add(2)
  await urged.worker.settled()
  for (let turns = 0; turns < 100; turns++) await turn()
  assert.deepEqual(patient.steps, [])
  assert.deepEqual(urged.steps, [[1, 2]])
})

function countingWorker() {
  const steps: number[][] = []
  let waiting: number[] = []
  const job = {
    hasWork: () => waiting.length > 0,
    async step() {
      steps.push(waiting)
      waiting = []
    },
    failed: assert.fail,
  }
  const worker = new Worker(job, gatherMs)
  const add = (number: number, isUrgent?: boolean) => {
    waiting.push(number)
    worker.schedule(isUrgent)
  }
  return { add, steps, worker }
}
