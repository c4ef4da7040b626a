/** The program that starts Envoy in its image: which bootstrap it takes. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const start = fileURLToPath(new URL('../../../images/envoy-start', import.meta.url))
const run = promisify(execFile)

let directory: string

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lightpath-envoy-start-'))
  for (const name of ['both', 'both-before-6.3', 'one']) {
    const node = { id: name, metadata: { 'lightpath.cloud/admin-port': '1', 'lightpath.cloud/canary-port': '2' } }
    await writeFile(join(directory, `${name}.json`), JSON.stringify({ node }))
  }
})

after(() => rm(directory, { recursive: true }))

/** The command line that Envoy gets, on a Linux of this release. */
async function started(file: string, release: string): Promise<string> {
  const uname = join(directory, 'uname')
  await writeFile(uname, `#!/bin/sh\necho ${release}\n`)
  await chmod(uname, 0o755)
  const env = { PATH: `${directory}:${process.env.PATH}`, ENVOY_BIN: 'echo' }
  const { stdout } = await run(start, [join(directory, `${file}.json`), '--concurrency', '2'], { env })
  return stdout
}

test('Envoy finds the module of its version, or where it is told to look', async () => {
  const program = join(directory, 'envoy-1.41.3')
  await writeFile(
    program,
    `#!/bin/sh
case $1 in --version) echo; echo 'envoy  version: 0123abc/1.41.3/Clean/RELEASE/BoringSSL' ;; *) echo "$ENVOY_DYNAMIC_MODULES_SEARCH_PATH" ;; esac
`,
  )
  await chmod(program, 0o755)
  const path = async (env: NodeJS.ProcessEnv) => {
    return (
      await run(start, [join(directory, 'one.json')], { env: { PATH: process.env.PATH, ENVOY_BIN: program, ...env } })
    ).stdout
  }
  assert.equal(await path({}), '/usr/lib/lightpath/envoy-1.41\n')
  assert.equal(await path({ ENVOY_DYNAMIC_MODULES_SEARCH_PATH: '/mine' }), '/mine\n')
})

test('Envoy may open as many files as it can get, and takes no more connections than there are files for', async () => {
  const file = join(directory, 'limits.json')
  const bootstrap = (most: string) =>
    JSON.stringify({ 'lightpath.cloud/connections': most, maxActiveDownstreamConnections: most })
  await writeFile(file, bootstrap('100000'))
  const program = join(directory, 'envoy-limits')
  await writeFile(program, '#!/bin/sh\necho "$2 $(ulimit -n)"\n')
  await chmod(program, 0o755)
  const startedWith = async (soft: number, hard: number) => {
    const limits = `ulimit -Sn ${soft} && ulimit -Hn ${hard} && exec "$0" "$1"`
    return (await run('sh', ['-c', limits, start, file], { env: { PATH: process.env.PATH, ENVOY_BIN: program } }))
      .stdout
  }
  assert.equal(await startedWith(512, 1024), `${bootstrap('409')} 1024\n`)
})

test('an old Linux gets the bootstrap for it, where there is one, and every other the usual one', async () => {
  for (const release of ['5.15.0-91-generic', '6.1.0-13-amd64', '6.2.16']) {
    assert.match(await started('both', release), /"id":"both-before-6.3".* --concurrency 2$/m)
    assert.match(await started('one', release), /"id":"one"/)
  }
  for (const release of ['6.3.0', '6.3-rc1', '6.18.44-fc-v669', '7.0.1', '10.1']) {
    assert.match(await started('both', release), /"id":"both"/, release)
  }
})
