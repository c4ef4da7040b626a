import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { healthRoutes } from './healthz.ts'
import { SyncHealth } from './synchealth.ts'

async function ask(path: '/healthz' | '/livez', health: SyncHealth, isNodeEligible = true) {
  const counted: string[] = []
  const routes = healthRoutes({
    health,
    isNodeEligible: () => isNodeEligible,
    answered: (page, status) => void counted.push(`/${page} ${status}`),
  })
  const { status, body } = await routes[path]()
  assert.deepEqual(counted, [`${path} ${status}`])
  return { code: status, page: JSON.parse(String(body)) }
}

const minute = 60_000
const age = (page: { lastUpdated: string; currentTime: string }) =>
  Date.parse(page.currentTime) - Date.parse(page.lastUpdated)

function lastSynced(ago: number): SyncHealth {
  const health = new SyncHealth(['IPv4', 'IPv6'])
  for (const family of ['IPv4', 'IPv6'] as const) {
    health.syncResult(family, { ok: true, syncedThrough: performance.now() - ago }, performance.now())
  }
  return health
}

describe('/healthz and /livez', () => {
  test('answer 200 while all is well, as updated just now whenever that was', async () => {
    const healthz = await ask('/healthz', lastSynced(2 * minute))
    assert.equal(healthz.code, 200)
    assert.deepEqual(Object.keys(healthz.page), ['lastUpdated', 'currentTime', 'nodeEligible', 'healthy', 'status'])
    assert.deepEqual([healthz.page.healthy, healthz.page.nodeEligible, age(healthz.page)], [true, true, 0])
    assert.deepEqual(Object.keys(healthz.page.status), ['IPv4', 'IPv6'])
    const livez = await ask('/livez', lastSynced(2 * minute))
    assert.equal(livez.code, 200)
    assert.deepEqual(Object.keys(livez.page), ['lastUpdated', 'currentTime', 'healthy', 'status'])
  })

  test('answer 503 with the time of the last update when a change has waited for a minute', async () => {
    const health = lastSynced(2 * minute)
    health.queued(performance.now() - minute)
    for (const path of ['/healthz', '/livez'] as const) {
      const { code, page } = await ask(path, health)
      assert.deepEqual([code, page.healthy, page.status.IPv4.healthy], [503, false, false])
      assert.ok(Math.abs(age(page) - 2 * minute) < minute / 2, String(age(page)))
      assert.equal(page.status.IPv6.lastUpdated, page.lastUpdated)
    }
  })

  test('of a node that is being removed: /healthz is 503, so that load balancers leave, /livez 200, so that nobody restarts it', async () => {
    const healthz = await ask('/healthz', lastSynced(2 * minute), false)
    assert.deepEqual([healthz.code, healthz.page.nodeEligible, healthz.page.healthy], [503, false, true])
    assert.ok(age(healthz.page) > minute)
    assert.equal((await ask('/livez', lastSynced(2 * minute), false)).code, 200)
  })

  test('before the first sync name no family', async () => {
    const { code, page } = await ask('/livez', new SyncHealth(['IPv4']))
    assert.deepEqual([code, page.healthy, page.status], [200, true, undefined])
  })
})
