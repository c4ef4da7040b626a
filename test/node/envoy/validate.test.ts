import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { Bootstrap } from '../../../src/envoy/api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { bootstrap, bootstrapJson } from '../../../src/envoy/bootstrap/bootstrap.ts'
import { staticBootstrap } from '../../../src/envoy/bootstrap/static.ts'
import { redirectListeners } from '../../../src/envoy/resources/redirect.ts'
import { configurationOf } from '../../../src/envoy/resources/resources.ts'
import { anySettings, settingValues } from '../../../src/envoy/testing.ts'
import { envoyModule } from '../../../src/lab/command-lines.ts'
import { aPortState } from '../../../src/plan/testing.ts'
import { defaultSettings } from '../../../src/services/settings/definitions.ts'
import type { Settings } from '../../../src/services/settings/settings.ts'
import { envoyPath } from './envoy.ts'

async function validate(t: TestContext, configuration: Bootstrap): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-validate-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'envoy.json')
  await writeFile(file, JSON.stringify(bootstrapJson(configuration)))
  const [program, module] = await Promise.all([envoyPath(), envoyModule()])
  const { stdout } = await promisify(execFile)(
    program,
    ['--mode', 'validate', '--config-path', file, '--log-level', 'error'],
    { env: { ENVOY_DYNAMIC_MODULES_SEARCH_PATH: module } },
  )
  return stdout
}

test('Envoy accepts the bootstrap of a node', async t => {
  assert.match(await validate(t, bootstrap({ node: 'node1' })), / OK\n$/)
})

test('Envoy accepts every value of every setting, and combinations of them, for both protocols', async t => {
  const combinations: Settings[] = [
    ...settingValues.map(({ settings }) => ({ ...defaultSettings, ...settings })),
    ...fc.sample(anySettings, { numRuns: 60, seed: 1 }),
  ]
  const states = combinations.flatMap((settings, i) =>
    (['http', 'tcp'] as const).map(protocol =>
      aPortState({
        id: `test/setting-${i}/${protocol}`,
        vip: `10.96.${i >> 8}.${i & 255}`,
        port: { name: protocol, protocol: 'TCP', port: protocol === 'http' ? 80 : 81 },
        settings,
        layer: { wants: 'envoy', protocol, reason: 'test' },
      }),
    ),
  )
  const resources = [
    ...redirectListeners({ redirectPort: 1666, families: ['IPv4', 'IPv6'] }),
    ...configurationOf(states, { clientMark: 0x2000 }),
  ]
  assert.match(await validate(t, staticBootstrap(resources, { node: 'node1' })), / OK\n$/)
})
