import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { faults } from '../../bench/chaos/faults.ts'
import { experimentNames, findExperiment } from '../../bench/experiments/all.ts'
import { withMainTable } from '../../bench/report/main-table.ts'
import { report } from '../../bench/report/text.ts'
import { compare, summary } from '../../bench/runner/compare.ts'

const read = (file: string) => readFileSync(file, 'utf8')

test('each row of the chaos table is a test', () => {
  assert.ok(faults.length >= 19)
  const missing = faults.filter(({ test: [file, name] }) => !read(`test/${file}.test.ts`).includes(`test('${name}`))
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  )
})

test('the short form of all experiments fits in 25 minutes', () => {
  const minutes = experimentNames.map(name => findExperiment(name)!.minutes.short)
  assert.ok(minutes.reduce((sum, one) => sum + one, 0) <= 24)
})

test('figures of README.md and docs/benchmarks.md are those of bench/results', () => {
  const readme = read('README.md')
  assert.equal(withMainTable(readme), readme)
  assert.equal(report(), read('docs/benchmarks.md'))
})

test('a second run is compared with the spread of the first, and its aims with those', () => {
  const table = (rows: readonly (readonly string[])[]) => [
    { title: 'T', header: ['ms', 'p50', 'p99', 'aim'], rows, notes: [] },
  ]
  const first = table([
    ['a', '10.0 (9.0–11.0)', '1,200 (1,100–1,300)', '≤ 20: yes'],
    ['b', '10.0 (9.0–11.0)', '5', ''],
  ])
  const second = table([
    ['a', '11.0 (9.0–30.0)', '1,301 (1,200–1,400)', '≤ 20: NO'],
    ['b', '9.5 (9.5–9.5)', '50', ''],
  ])
  const rows = compare(first, second)
  assert.deepEqual(
    rows.map(({ row, stated, outside, aims }) => [row, stated, outside.map(({ column }) => column), aims.length]),
    [
      ['a', 2, ['p99'], 1],
      ['b', 1, [], 0],
    ],
  )
  assert.match(summary(rows), /^2 of 3 figures/)
})
