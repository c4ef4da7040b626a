import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Problem, problem } from '../../services/problem.ts'
import { startRetrying } from './retry.ts'

/** What is reported of a start that fails so many times. */
async function told(failing: number, quietFailures?: number): Promise<readonly (readonly Problem['reason'][])[]> {
  const told: string[][] = []
  let tries = 0
  const retried = startRetrying({
    start: async () => {
      tries++
      if (tries <= failing) throw new Error(`try ${tries}`)
      return 'started'
    },
    everyMs: 1,
    problem: error => problem('LP502', 'Service a/b', error.message, ''),
    onProblems: problems => told.push(problems.map(({ reason }) => reason)),
    quietFailures,
  })
  while (retried.started() === undefined) await delay(1)
  await retried.stop()
  return told
}

test('each failure is reported, and that it is over', async () => {
  assert.deepEqual(await told(2), [['try 1'], ['try 2'], []])
})

test('a failure that is over soon, as of a port that another hands over, is no problem', async () => {
  assert.deepEqual(await told(1, 1), [[]])
  assert.deepEqual(await told(2, 1), [['try 2'], []])
})
