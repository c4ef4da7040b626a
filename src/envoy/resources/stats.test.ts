import assert from 'node:assert/strict'
import { test } from 'node:test'
import { statsConfig } from './stats.ts'

function isKept(name: string): boolean {
  const matcher = statsConfig.statsMatcher!.statsMatcher!
  assert.equal(matcher.case, 'inclusionList')
  return matcher.value.patterns!.some(({ matchPattern }) => {
    if (matchPattern?.case === 'prefix') return name.startsWith(matchPattern.value)
    assert.equal(matchPattern?.case, 'safeRegex')
    return new RegExp(`^(?:${matchPattern.value.regex})$`).test(name)
  })
}

const kept = [
  'cluster.whoami/whoami/http.upstream_rq_time',
  'cluster.whoami/whoami/http.outlier_detection.ejections_active',
  'cluster.whoami/whoami/http.upstream_cx_idle_timeout',
  'cluster.whoami/whoami/http/IPv6.membership_healthy',
  'listener.10.96.0.10_80.downstream_cx_active',
  'listener.[fd00::10]_80.downstream_cx_active',
  'listener_manager.total_listeners_active',
]

const dropped = [
  'cluster.whoami/whoami/http.outlier_detection.ejections_total',
  'listener.10.96.0.10_80.worker_0.downstream_cx_active',
  'listener.10.96.0.10_80.http.http.downstream_rq_2xx',
  'http.http.rds.whoami/whoami/http.update_duration',
]

test('Envoy keeps the statistics of a Service port that are read, and none of its single route or of single workers', () => {
  assert.deepEqual(
    kept.filter(name => !isKept(name)),
    [],
  )
  assert.deepEqual(dropped.filter(isKept), [])
})
