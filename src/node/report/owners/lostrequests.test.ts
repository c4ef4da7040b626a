import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PortState } from '../../../plan/ports/port.ts'
import { aPortState } from '../../../plan/testing.ts'
import type { Problem } from '../../../services/problem.ts'
import { LostRequests } from './lostrequests.ts'

function lostRequests(stateOf: (id: string) => PortState | undefined) {
  const problems = new Map<string, readonly Problem[]>()
  const requests = new LostRequests({
    stateOf,
    onProblems: (origin, found) => problems.set(origin, found),
    calmMs: 3600e3,
  })
  const codes = () => [...problems.values()].flat().map(({ code, object }) => `${code} ${object}`)
  return { requests, codes }
}

test('a Service port has a problem from the third lost request on, for each reason, and no longer than they are lost', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { requests, codes } = lostRequests(id => aPortState({ id }))
  for (let i = 0; i < 2; i++) requests.lost('shop/web/http', 'client-ended')
  requests.lost('shop/other/http', 'client-ended')
  assert.deepEqual(codes(), [])
  requests.lost('shop/web/http/external', 'client-ended')
  for (let i = 0; i < 5; i++) requests.lost('shop/web/http', 'answer-refused')
  assert.deepEqual(codes(), ['LP308 Service shop/web', 'LP309 Service shop/web'])
  t.mock.timers.tick(3600e3)
  assert.deepEqual(codes(), [])
})

test('the problem ends with the port, or when its owner takes it from Envoy, and another of its name begins anew', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const id = 'shop/web/http'
  const before = aPortState({ id })
  const inKernel = aPortState({ id, layer: { wants: 'kernel', reason: 'overlay: false' } })
  for (const after of [undefined, inKernel]) {
    let state: PortState | undefined = before
    const { requests, codes } = lostRequests(() => state)
    const lose = (times: number) => {
      for (let i = 0; i < times; i++) requests.lost(id, 'answer-refused')
    }
    lose(5)
    requests.changed({ id, before, after: before })
    assert.deepEqual(codes(), ['LP309 Service shop/web'])
    state = after
    requests.changed({ id, before, after })
    lose(5)
    assert.deepEqual(codes(), [])
    state = before
    lose(2)
    assert.deepEqual(codes(), [])
  }
})
