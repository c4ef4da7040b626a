/** The service graph of the measurements as manifests (bench/cluster). */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ApiServerProcess, adminToken, noApiServer, noKubectl } from '../apiserver.ts'
import { kubectl } from './kustomize.ts'

const run = promisify(execFile)
const program = join(import.meta.dirname, '../../../bench/cluster')

test('the API server accepts the service graph without a warning', {
  skip: noApiServer ?? noKubectl,
  timeout: 120_000,
}, async t => {
  const server = new ApiServerProcess()
  await server.start()
  t.after(() => server.stop())
  await server.makeNamespaces({ graph: {} })
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-graph-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'graph.yaml')
  await writeFile(file, (await run(program, ['print', '--scenario', 'errors'])).stdout)
  const admin = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
  const applied = await kubectl(...admin, 'apply', '--server-side', '--dry-run=server', '-f', file)
  const count = (kind: RegExp) => applied.split('\n').filter(line => kind.test(line)).length
  // Seven services and a client; each of four variants has a Service of each.
  assert.deepEqual([count(/^deployment/), count(/^service\//)], [8, 28], applied)
})
