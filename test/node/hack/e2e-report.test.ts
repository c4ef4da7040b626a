/** What `make e2e` prints of a run, and when it fails. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-e2e-'))
after(() => rmSync(directory, { recursive: true }))

const spec = (LeafNodeText: string, fields: object) => ({
  ContainerHierarchyTexts: ['[sig-network] Services'],
  LeafNodeType: 'It',
  LeafNodeText,
  NumAttempts: 1,
  RunTime: 12e9,
  ...fields,
})
const run = [
  spec('should serve', { State: 'passed' }),
  spec('should fall back', { State: 'failed', Failure: { Message: '\n  timed out\nand more' } }),
  spec('should be new', { State: 'passed', NumAttempts: 2 }),
  spec('should not be chosen', { State: 'skipped', NumAttempts: 0 }),
]

function report(baseline: readonly string[], ...args: readonly string[]) {
  const [reportFile, baselineFile] = [join(directory, 'report.json'), join(directory, 'baseline.txt')]
  writeFileSync(reportFile, JSON.stringify([{ RunTime: 60e9, SpecReports: run }]))
  writeFileSync(baselineFile, baseline.map(name => `[sig-network] Services ${name}\n`).join(''))
  const program = join(import.meta.dirname, '../../../hack/e2e/report.ts')
  const files = ['--report', reportFile, '--baseline', baselineFile]
  const { stdout, status } = spawnSync(process.execPath, [program, ...files, ...args], { encoding: 'utf8' })
  return { stdout, status, baseline: readFileSync(baselineFile, 'utf8') }
}

test('a run fails when a test of the baseline did not pass, and names it, why, and what passed beyond', () => {
  const { stdout, status } = report(['should serve', 'should fall back', 'should be there'])
  assert.equal(status, 1)
  assert.match(stdout, /^failed +12 s {2}\[sig-network\] Services should fall back\n +timed out\n/m)
  assert.match(stdout, /2 passed \(1 of them at the second try\), 1 failed, 0 skipped themselves; 1 min/)
  assert.match(stdout, /of the 3 of the baseline 1 passed/)
  assert.match(stdout, /^- \[sig-network\] Services should fall back$/m)
  assert.match(stdout, /^- \[sig-network\] Services should be there$/m)
  assert.match(stdout, /^\+ \[sig-network\] Services should be new$/m)
})

test('a filtered run is compared with what the filter chooses of the baseline', () => {
  const { status } = report(
    ['should serve', 'should fall back', 'should be there'],
    '--focus',
    'serve|there',
    '--skip',
    'there',
  )
  assert.equal(status, 0)
})

test('a filtered run that writes the baseline keeps the rest of it', () => {
  const { baseline } = report(['should serve', 'should fall back', 'should be there'], '--focus', 'fall|new', '--write')
  assert.equal(
    baseline,
    ['should be new', 'should be there', 'should serve'].map(name => `[sig-network] Services ${name}\n`).join(''),
  )
})

test('the result as JSON has every test and the differences', () => {
  const result = JSON.parse(report(['should fall back'], '--output', 'json').stdout)
  assert.deepEqual(result.lost, ['[sig-network] Services should fall back'])
  assert.deepEqual(
    result.results.map(({ outcome }: { outcome: string }) => outcome),
    ['passed at the second try', 'failed', 'passed'],
  )
})
