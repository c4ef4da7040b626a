import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Problem } from '../../services/problem.ts'
import { LostRequests } from './lostrequests.ts'

test('a Service port has a problem from the third lost request on, for each reason, and no longer than they are lost', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const problems = new Map<string, readonly Problem[]>()
  const requests = new LostRequests({ onProblems: (origin, found) => problems.set(origin, found), calmMs: 3600e3 })
  const codes = () => [...problems.values()].flat().map(({ code, object }) => `${code} ${object}`)
  for (let i = 0; i < 2; i++) requests.lost('shop/web/http', 'client-ended')
  requests.lost('shop/other/http', 'client-ended')
  assert.deepEqual(codes(), [])
  requests.lost('shop/web/http/external', 'client-ended')
  for (let i = 0; i < 5; i++) requests.lost('shop/web/http', 'answer-refused')
  assert.deepEqual(codes(), ['LP308 Service shop/web', 'LP309 Service shop/web'])
  t.mock.timers.tick(3600e3)
  assert.deepEqual(codes(), [])
})
