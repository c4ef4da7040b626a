import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { findEnvoy, isSupported } from './find.ts'

/** A program that prints what Envoy of this version prints. */
async function program(t: TestContext, version: string, { name = 'envoy', mode = 0o755 } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-find-'))
  t.after(() => rm(directory, { recursive: true }))
  const path = join(directory, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, `#!/bin/sh\necho "envoy  version: 0123abc/${version}/Clean/RELEASE/BoringSSL"\n`)
  await chmod(path, mode)
  return { directory, path }
}

test('ENVOY_BIN comes before the PATH, and the PATH before the cache', async t => {
  const [explicit, onPath] = [await program(t, '1.41.0'), await program(t, '1.40.1')]
  const cached = await program(t, '1.40.0', { name: 'lightpath/envoy-1.40.0' })
  const environment = {
    ENVOY_BIN: explicit.path,
    PATH: `/nowhere:${onPath.directory}`,
    XDG_CACHE_HOME: cached.directory,
  }
  const { ENVOY_BIN, ...withoutBin } = environment
  assert.deepEqual(await findEnvoy(environment), { ok: true, path: explicit.path, version: '1.41.0' })
  assert.deepEqual(await findEnvoy(withoutBin), { ok: true, path: onPath.path, version: '1.40.1' })
  assert.deepEqual(await findEnvoy({ ...withoutBin, PATH: '/nowhere' }), {
    ok: true,
    path: cached.path,
    version: '1.40.0',
  })
})

test('an older Envoy on the PATH does not hide the one in the cache', async t => {
  const [old, cached] = [await program(t, '1.31.2'), await program(t, '1.40.0', { name: 'lightpath/envoy-1.40.0' })]
  const found = await findEnvoy({ PATH: old.directory, XDG_CACHE_HOME: cached.directory })
  assert.deepEqual(found, { ok: true, path: cached.path, version: '1.40.0' })
})

test('an Envoy that cannot be used is named with its reason and what to do', async t => {
  const old = await program(t, '1.31.2')
  const locked = await program(t, '1.40.0', { mode: 0o644 })
  const cases: [path: string, reason: RegExp][] = [
    [old.path, /1\.31\.2, older than 1\.40\.0/],
    [locked.path, /not executable/],
    ['/nowhere/envoy', /not found/],
    ['/bin/true', /no Envoy/],
  ]
  for (const [ENVOY_BIN, reason] of cases) {
    const found = await findEnvoy({ ENVOY_BIN })
    assert.ok(!found.ok)
    assert.equal(found.problem.code, 'LP302')
    assert.equal(found.problem.object, `Envoy ${ENVOY_BIN}`)
    assert.match(found.problem.reason, reason)
    assert.match(found.problem.remedy, /tools\/setup/)
  }
})

test('versions are compared by their numbers', () => {
  assert.deepEqual(['1.39.9', '1.40.0', '1.40.12', '1.100.0', '2.0.0'].map(isSupported), [
    false,
    true,
    true,
    true,
    true,
  ])
})
