import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { hasModule, metadataOfModule } from './module.ts'

const read = (metadata: Readonly<Record<string, string>>) => hasModule(new Map(Object.entries(metadata)))

test('an Envoy has the module where its metadata names the version that this agent relies on', () => {
  const version = Object.values(metadataOfModule(true))[0]!
  assert.deepEqual(
    [true, false].map(has => read(metadataOfModule(has))),
    [true, false],
  )
  // As of modules that did not wait for silent clients by themselves.
  assert.equal(read({ 'lightpath.cloud/module': 'true' }), false)
  assert.equal(read({}), false)
  // What an image has is what the agent of its release relies on.
  const script = readFileSync(new URL('../../../images/envoy-start', import.meta.url), 'utf8')
  assert.match(script, new RegExp(`liblightpath\\.so" \\] \\|\\| module=${version}\\n`))
})
