import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scopeOf } from './objects.ts'

const daemonSet = (...args: readonly string[]) => ({ spec: { template: { spec: { containers: [{ args }] } } } })

test('which Services the agents serve says the last flag, as components append it', () => {
  assert.equal(scopeOf(daemonSet('node', '--services=labelled')), 'labelled')
  assert.equal(scopeOf(daemonSet('node', '--services=labelled', '--services=all')), 'all')
  assert.equal(scopeOf(daemonSet('node')), 'all')
})
