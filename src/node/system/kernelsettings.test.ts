import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitFor } from '../../lab/wait.ts'
import type { Problem } from '../../services/problem.ts'
import { keepSettings } from './kernelsettings.ts'

test('a setting that somebody changes while the agent runs is set again, and reported where it cannot be', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-settings-'))
  const name = join(directory, 'tcp_migrate_req')
  let told: readonly Problem[] = []
  writeFileSync(name, '0')
  const group = { settings: [{ name, wanted: () => [1] }], harm: 'connections are lost' }
  const settings = keepSettings(
    [group],
    'node1',
    (_origin, problems) => {
      told = problems
    },
    5,
  )
  const isSet = () => readFileSync(name, 'utf8') === '1'
  try {
    await waitFor('the setting', 5000, isSet)
    writeFileSync(name, '0')
    await waitFor('the setting, again', 5000, isSet)
    rmSync(name)
    await waitFor('the problem', 5000, () => told.length > 0)
    assert.deepEqual([told[0]!.code, told[0]!.object], ['LP403', 'Node node1'])
    assert.match(told[0]!.reason, /tcp_migrate_req is not 1/)
    writeFileSync(name, '1')
    await waitFor('no problem', 5000, () => told.length === 0)
  } finally {
    await settings.stop()
    rmSync(directory, { recursive: true })
  }
})
