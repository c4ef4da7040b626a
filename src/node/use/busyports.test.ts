import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { FrontendActivity } from '../lifecycle/drains.ts'
import { BusyPorts } from './busyports.ts'

const minute = 60_000

describe('ports at work in Envoy', () => {
  let activity: Record<string, FrontendActivity> | undefined
  const create = () => new BusyPorts(async () => activity && new Map(Object.entries(activity)))

  test('a port is with an open connection, or with answers since the last probe', async () => {
    const busy = create()
    const start = performance.now()
    activity = { open: { open: 1, answers: 0 }, asked: { open: 0, answers: 3 }, quiet: { open: 0, answers: 0 } }
    const ids = Object.keys(activity)
    assert.deepEqual([...(await busy.probe(ids, start)).keys()], ['open'])
    activity = { ...activity, asked: { open: 0, answers: 4 } }
    const seen = await busy.probe(ids, start + minute)
    assert.deepEqual(
      [...seen],
      ids.slice(0, 2).map(id => [id, start + minute]),
    )
    assert.equal((await busy.probe(ids, start + 2 * minute)).get('asked'), start + minute)
  })

  test('until Envoy has answered all of them are, but not for long', async () => {
    activity = undefined
    const busy = create()
    const now = performance.now()
    assert.deepEqual([...(await busy.probe(['web'], now)).keys()], ['web'])
    assert.deepEqual([...(await busy.probe(['web'], now + minute)).keys()], [])
  })
})
