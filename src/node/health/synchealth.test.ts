import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SyncHealth } from './synchealth.ts'

const minute = 60_000
const written = (syncedThrough: number) => ['IPv4', { ok: true, syncedThrough }, syncedThrough] as const

test('a node with nothing to write is healthy', () => {
  assert.equal(new SyncHealth(['IPv4']).isHealthy(10 * minute), true)
})

test('a node is unhealthy when a change, also the first one, has waited for a minute, and healthy once it is written', () => {
  for (const before of [[], [5]]) {
    const health = new SyncHealth(['IPv4'])
    for (const at of before) health.syncResult(...written(at))
    health.queued(1000)
    health.queued(2000)
    assert.equal(health.isHealthy(1000 + minute - 1), true)
    assert.equal(health.isHealthy(1000 + minute), false)
    health.syncResult(...written(2000))
    assert.equal(health.isHealthy(10 * minute), true)
    assert.equal(health.lastSynced, 2000)
  }
})

test('a change that comes while the kernel is written waits from then on', () => {
  const health = new SyncHealth(['IPv4'])
  health.queued(1000)
  health.queued(3000)
  health.syncResult(...written(2000))
  assert.equal(health.isHealthy(1000 + minute), true)
  assert.equal(health.isHealthy(3000 + minute), false)
})

test('a node is unhealthy when nft has failed for a minute although nothing was asked for, as when a table is gone', () => {
  const health = new SyncHealth(['IPv4'])
  health.syncResult(...written(1000))
  for (const now of [2000, 3000]) health.syncResult('IPv4', { ok: false, syncedThrough: now }, now)
  assert.equal(health.isHealthy(2000 + minute - 1), true)
  assert.equal(health.isHealthy(2000 + minute), false)
  health.syncResult(...written(4000))
  assert.equal(health.isHealthy(10 * minute), true)
})

test('a family that cannot be written is unhealthy by itself, and the node with it', () => {
  const health = new SyncHealth(['IPv4', 'IPv6'])
  health.queued(1000)
  health.syncResult(...written(1000))
  health.syncResult('IPv6', { ok: false, syncedThrough: 2000 }, 2000)
  const healthy = (now: number) => [...health.status(now).values()].map(family => family.healthy)
  assert.deepEqual(healthy(1000 + minute), [true, false])
  assert.equal(health.isHealthy(1000 + minute), false)
  assert.equal(health.status(0).get('IPv6')?.lastSynced, undefined)
  health.queued(3 * minute, ['IPv4'])
  health.syncResult('IPv6', { ok: true, syncedThrough: 3 * minute }, 3 * minute)
  assert.deepEqual(healthy(4 * minute), [false, true])
})
