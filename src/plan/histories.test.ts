/** Properties of a plan that hold whatever changes come in whichever order. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type KubeObject, keyOf } from '../services/objects/objects.ts'
import { put } from '../services/testing.ts'
import type { PortState } from './ports/port.ts'
import { TestPlan } from './testing.ts'
import { anyHistory, anyHistoryOfServices } from './testing-histories.ts'

const knowledge = { tellsPods: true, podRanges: [] }

describe('for all histories', () => {
  test('the reported changes, applied one after another, give the state that the plan has', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const plan = new TestPlan({ knowledge })
        const told = new Map<string, PortState>()
        for (const changes of history) {
          for (const { id, before, after } of plan.tell(changes).ports) {
            assert.equal(told.get(id), before)
            if (after) told.set(id, after)
            else told.delete(id)
          }
        }
        assert.deepEqual([...told.values()].sort(byId), [...plan.states()].sort(byId))
      }),
    )
  })
  test('how one got there does not matter: the same objects give the same states', () => {
    fc.assert(
      fc.property(anyHistoryOfServices, history => {
        const plan = new TestPlan()
        const objects = new Map<string, KubeObject>()
        for (const changes of history) {
          for (const key of plan.tell(changes).handedOver) plan.release(key)
          for (const change of changes) {
            if (change.type === 'put') objects.set(JSON.stringify(keyOf(change.object)), change.object)
            else objects.delete(JSON.stringify(change.key))
          }
        }
        const fresh = new TestPlan()
        fresh.tell([...objects.values()].map(put))
        assert.deepEqual([...fresh.states()].sort(byId), [...plan.states()].sort(byId))
      }),
    )
  })
  test('that the endpoints of large Services are remembered changes nothing', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const [remembering, other] = [0, Infinity].map(manyEndpoints => new TestPlan({ knowledge, manyEndpoints }))
        for (const changes of history) assert.deepEqual(remembering!.tell(changes), other!.tell(changes))
      }),
      { numRuns: 1000 },
    )
  })
  test('no two states share a VIP:port, be it external to one of them', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const plan = new TestPlan({ knowledge })
        for (const changes of history) plan.tell(changes)
        const claims = [...plan.states()].flatMap(({ vip, port, external }) =>
          [...new Set([vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])])].map(
            ip => `${ip} ${port.port} ${port.protocol}`,
          ),
        )
        assert.equal(new Set(claims).size, claims.length)
      }),
    )
  })
})

function byId(a: PortState, b: PortState): number {
  return a.id < b.id ? -1 : 1
}
