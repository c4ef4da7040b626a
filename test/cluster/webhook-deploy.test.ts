import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { ApiServerProcess, adminToken, noApiServer, noKubectl, programs } from './apiserver.ts'

const run = promisify(execFile)
const deploy = join(import.meta.dirname, '../../deploy')
const options = { skip: noApiServer ?? noKubectl, timeout: 120_000 }
const server = new ApiServerProcess()

before(async () => {
  if (options.skip !== undefined) return
  await server.start()
  await server.makeNamespaces({ 'lightpath-system': {} })
})

after(async () => {
  await server.stop()
})

test('the API server accepts deploy/webhook as it is', options, async () => {
  const accepted = await dryRun(join(deploy, 'webhook'))
  for (const object of ['deployment.apps/lightpath-webhook', 'service/lightpath-webhook']) {
    assert.match(accepted, new RegExp(`^${object} serverside-applied`, 'm'))
  }
})

async function kubectl(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(join(programs, 'kubectl'), args)
  assert.equal(stderr, '', 'warnings of the API server or of kustomize')
  return stdout
}

/** What the API server would make of a directory for `kubectl apply -k`. */
function dryRun(directory: string): Promise<string> {
  const kubeconfig = server.kubeconfig('admin', `token: ${adminToken}`)
  return kubectl('--kubeconfig', kubeconfig, 'apply', '--server-side', '--dry-run=server', '-k', directory)
}
