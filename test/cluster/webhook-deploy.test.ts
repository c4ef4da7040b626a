import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ApiServerProcess, adminToken, noApiServer, noKubectl } from './apiserver.ts'
import { kubectl, render, withKustomization } from './kustomize.ts'

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
  const accepted = await dryRun()
  for (const object of ['deployment.apps/lightpath-webhook', 'service/lightpath-webhook']) {
    assert.match(accepted, new RegExp(`^${object} serverside-applied`, 'm'))
  }
})

test('with the component opa, OPA takes the place of the webhook and its rights', options, async () => {
  assert.match(await dryRun('components/opa'), /^deployment.apps\/lightpath-opa serverside-applied/m)
  const kinds = (await render('webhook', 'components/opa')).map(({ kind }) => kind).sort()
  const expected = ['ConfigMap', 'Deployment', 'MutatingWebhookConfiguration', 'PodDisruptionBudget', 'Service']
  assert.deepEqual(kinds, expected)
})

/** What the API server would make of deploy/webhook with these components. */
function dryRun(...components: readonly string[]): Promise<string> {
  const kubeconfig = server.kubeconfig('admin', `token: ${adminToken}`)
  const apply = ['--kubeconfig', kubeconfig, 'apply', '--server-side', '--dry-run=server', '-k']
  return withKustomization('webhook', components, directory => kubectl(...apply, directory))
}
