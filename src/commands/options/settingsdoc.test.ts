import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { renderSettingsDoc } from './settingsdoc.ts'

test('docs/settings.md says what the program does; `npm run --silent docs > docs/settings.md` renews it', () => {
  assert.equal(readFileSync(new URL('../../../docs/settings.md', import.meta.url), 'utf8'), renderSettingsDoc())
})
