import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SyncHealth } from './synchealth.ts'

const minute = 60_000

test('a node with nothing to write is healthy', () => {
  assert.equal(new SyncHealth(['IPv4']).isHealthy(10 * minute), true)
})

test('a node is unhealthy when a change has waited for a minute, also the first one, and healthy when it is written', () => {
  for (const before of [[], [5]]) {
    const health = new SyncHealth(['IPv4'])
    for (const at of before) health.synced(at)
    health.queued(1000)
    health.queued(2000)
    assert.equal(health.isHealthy(1000 + minute - 1), true)
    assert.equal(health.isHealthy(1000 + minute), false)
    health.synced(2000)
    assert.equal(health.isHealthy(10 * minute), true)
    assert.equal(health.lastSynced, 2000)
  }
})

test('what comes while the kernel is written waits from then on', () => {
  const health = new SyncHealth(['IPv4'])
  health.queued(1000)
  health.queued(3000)
  health.synced(2000)
  assert.equal(health.isHealthy(1000 + minute), true)
  assert.equal(health.isHealthy(3000 + minute), false)
})
