/** The steps of a release, as its workflow calls them: what they would run, since nothing can be published here. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import packageJson from '../../../package.json' with { type: 'json' }

interface Workflow {
  readonly on: object
  readonly jobs: Readonly<
    Record<
      string,
      { readonly uses?: string; readonly needs?: string; readonly steps?: readonly { readonly run?: string }[] }
    >
  >
}

const root = join(import.meta.dirname, '../../..')
const workflow = (name: string): Workflow => parse(readFileSync(join(root, '.github/workflows', name), 'utf8'))
const { version } = packageJson

async function dryRun(command: string, tag = `v${version}`): Promise<string> {
  const env = { ...process.env, DRY: '1', REGISTRY: 'registry.example/team', GITHUB_REF_NAME: tag }
  const { stdout } = await promisify(execFile)('bash', ['-euc', command], { cwd: root, env })
  return stdout
}

const commands = workflow('release.yml').jobs.publish!.steps!.flatMap(({ run }) => run ?? [])
const stepOf = (what: string) => commands.find(command => command.startsWith(`hack/publish ${what}`))!

describe('a release', () => {
  test('is published only once all tests have passed, by the command that CI runs', () => {
    const { jobs } = workflow('release.yml')
    assert.equal(jobs.publish!.needs, 'test')
    assert.equal(jobs.test!.uses, './.github/workflows/ci.yml')
    const ci = workflow('ci.yml')
    assert.ok('workflow_call' in ci.on)
    assert.ok(ci.jobs.test!.steps!.some(({ run }) => run === '.ci/run'))
  })

  test('has the version of package.json, and a tag of another one is refused by name', async () => {
    await dryRun(stepOf('version'))
    await assert.rejects(dryRun(stepOf('version'), 'v99.0.0'), (error: Error & { stderr: string }) =>
      error.stderr.includes(`the tag is v99.0.0, and package.json says ${version}`),
    )
  })

  test('has both images for both architectures, with SBOM and provenance, signed', async () => {
    const lines = (await dryRun(stepOf('images'))).trim().split('\n')
    for (const [index, image] of ['lightpath', 'lightpath-proxy'].entries()) {
      const [build, sign] = lines.slice(2 * index)
      assert.match(build!, /--platform linux\/amd64,linux\/arm64 .*--provenance mode=max --sbom true /)
      assert.ok(
        build!.includes(`--target ${image} `) && build!.includes(`registry.example/team/${image}:${version} --push`),
      )
      assert.match(sign!, new RegExp(`^cosign sign --yes registry.example/team/${image}@sha256:`))
    }
  })

  test('has an npm package with provenance', async () => {
    assert.match(await dryRun(stepOf('npm')), /npm publish$/m)
    assert.equal(packageJson.publishConfig.provenance, true)
    assert.ok(!('private' in packageJson))
  })
})
