/** What a release has beside its images: hack/release. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { arch, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { parse, parseAllDocuments } from 'yaml'
import packageJson from '../../../package.json' with { type: 'json' }
import { noHelm, noKubectl, programs } from '../apiserver.ts'
import { render } from './kustomize.ts'

interface Plugin {
  readonly spec: {
    readonly version: string
    readonly platforms: readonly { readonly uri: string; readonly sha256: string; readonly bin: string }[]
  }
}

const run = promisify(execFile)
const { version } = packageJson
const images = 'registry.example/team'

describe('a release', { skip: noKubectl ?? noHelm, timeout: 300_000 }, () => {
  let directory: string
  const text = (name: string) => readFileSync(join(directory, name), 'utf8')

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'lightpath-release-'))
    const architecture = arch() === 'arm64' ? 'arm64' : 'amd64'
    const release = join(import.meta.dirname, '../../../hack/release')
    await run(release, [directory, images, 'https://example.org/files', architecture])
  })

  after(() => {
    if (directory !== undefined) rmSync(directory, { recursive: true })
  })

  test('has deploy/default as one file, with the images of a registry', async () => {
    const wanted = JSON.stringify(await render('default')).replaceAll('localhost/lightpath', `${images}/lightpath`)
    const objects = parseAllDocuments(text('install.yaml')).map(document => document.toJS())
    assert.deepEqual(objects, JSON.parse(wanted))
    assert.match(wanted, new RegExp(`"${images}/lightpath-proxy:${version}"`))
  })

  test('has a chart that needs no value to name the same images', async () => {
    const chart = join(directory, `lightpath-${version}.tgz`)
    const { stdout } = await run(join(programs, 'helm'), ['template', 'a', chart, '--namespace', 'lightpath-system'])
    const named = [...stdout.matchAll(/image: (.*)/g)].map(([, image]) => image)
    const wanted = ['lightpath', 'lightpath-proxy'].map(name => `${images}/${name}:${version}`)
    assert.deepEqual(new Set(named), new Set(wanted))
  })

  test('has the command line as a plugin of kubectl, where krew links to it', async () => {
    const { spec } = parse(text('lightpath.yaml')) as Plugin
    const [{ uri, sha256, bin }] = spec.platforms as readonly [Plugin['spec']['platforms'][0]]
    const archive = join(directory, uri.replace('https://example.org/files/', ''))
    assert.equal(spec.version, `v${version}`)
    assert.equal(createHash('sha256').update(readFileSync(archive)).digest('hex'), sha256)
    const [store, path] = [join(directory, 'store'), join(directory, 'path')]
    for (const made of [store, path]) mkdirSync(made)
    await run('tar', ['-xzf', archive, '-C', store])
    symlinkSync(join(store, bin), join(path, 'kubectl-lightpath'))
    const env = { PATH: `${path}:/usr/bin:/bin` }
    const { stdout } = await run(join(programs, 'kubectl'), ['lightpath', '--version'], { env })
    assert.equal(stdout.trim(), version)
  })

  test('has sums of all its files', async () => {
    const { stdout } = await run('sha256sum', ['--check', 'SHA256SUMS'], { cwd: directory })
    assert.equal(stdout.trim().split('\n').length, 4)
  })
})
