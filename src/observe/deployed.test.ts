import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const known = metricsIn(new URL('./metrics/', import.meta.url), [
  'metrics.ts',
  'envoy-metrics.ts',
  'endpoint-metrics.ts',
  '../../controlplane/metrics.ts',
])
const component = new URL('../../deploy/components/prometheus/', import.meta.url)

/** Metrics that are named in these files, histograms by their own name; `a_{b,c}_d` are two. */
function metricsIn(folder: URL, files: readonly string[]): Set<string> {
  const text = files
    .map(file => readFileSync(new URL(file, folder), 'utf8'))
    .join('\n')
    .replace(/(\blightpath_\w*)\{([\w,]+)\}(_\w+)/g, (_, before, middles: string, after) =>
      middles
        .split(',')
        .map(middle => `${before}${middle}${after}`)
        .join(' '),
    )
  const names = text.match(/\blightpath_[a-z0-9_]+/g) ?? []
  return new Set(names.map(name => name.replace(/_(bucket|sum|count)$/, '')))
}

test('alerts and dashboard of deploy/components/prometheus use only metrics that exist', () => {
  const asked = metricsIn(component, readdirSync(component))
  assert.ok(asked.size > 10)
  assert.deepEqual(
    [...asked].filter(name => !known.has(name)),
    [],
  )
})

test('docs/operations.md names every metric, and none that does not exist', () => {
  const documented = metricsIn(new URL('../../docs/', import.meta.url), ['operations.md'])
  assert.deepEqual([...documented].sort(), [...known].sort())
})
