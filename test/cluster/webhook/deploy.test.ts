import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ApiServerProcess, adminToken, noAdmissionPolicies, noApiServer, noKubectl, programs } from '../apiserver.ts'
import { kubectl, render, withKustomization } from '../deploy/kustomize.ts'

const options = { skip: noApiServer ?? noKubectl, timeout: 120_000 }
const setup = readFileSync(new URL('../../../tools/setup', import.meta.url), 'utf8')
const crds = join(programs, `cert-manager-${/^cert_manager_version=(.*)$/m.exec(setup)![1]}`)
const withCrds = {
  ...options,
  skip: options.skip ?? (existsSync(crds) ? undefined : `no ${crds}; tools/setup cluster`),
}
const server = new ApiServerProcess()

before(async () => {
  if (options.skip !== undefined) return
  await server.start()
  await server.makeNamespaces({ 'lightpath-system': {} })
  if (withCrds.skip !== undefined) return
  const admin = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
  for (const name of ['certificates', 'issuers']) {
    await kubectl(...admin, 'apply', '--server-side', '-f', join(crds, `cert-manager.io_${name}.yaml`))
    await kubectl(...admin, 'wait', '--for=condition=Established', `crd/${name}.cert-manager.io`, '--timeout=30s')
  }
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

test('the API server accepts all of it with the admission policy, which takes the place of the webhook', {
  ...options,
  skip: options.skip ?? noAdmissionPolicies,
}, async () => {
  const accepted = await dryRunOf('default', 'components/admission-policy')
  assert.match(accepted, /^mutatingadmissionpolicy.admissionregistration.k8s.io\/lightpath.cloud serverside-applied/m)
  assert.match(accepted, /^daemonset.apps\/lightpath-node serverside-applied/m)
  assert.doesNotMatch(accepted, /webhook/)
})

test('with the component opa, OPA takes the place of the webhook and its rights', options, async () => {
  assert.match(await dryRun('components/opa'), /^deployment.apps\/lightpath-opa serverside-applied/m)
  const kinds = (await render('webhook', 'components/opa')).map(({ kind }) => kind).sort()
  const expected = ['ConfigMap', 'Deployment', 'MutatingWebhookConfiguration', 'PodDisruptionBudget', 'Service']
  assert.deepEqual(kinds, expected)
})

test(
  'with the component cert-manager, the webhook has its certificate from there and no rights',
  withCrds,
  async () => {
    const accepted = await dryRun('components/cert-manager')
    for (const object of [
      'certificate.cert-manager.io/lightpath-webhook',
      'issuer.cert-manager.io/lightpath-webhook',
    ]) {
      assert.match(accepted, new RegExp(`^${object} serverside-applied`, 'm'))
    }
    const rendered = await render('webhook', 'components/cert-manager')
    assert.ok(!rendered.some(({ kind }) => /Role|ServiceAccount/.test(kind)))
    const { spec } = rendered.find(({ kind }) => kind === 'Deployment')!.spec.template
    const secret = rendered.find(
      ({ kind, metadata }) => kind === 'Certificate' && metadata.name === 'lightpath-webhook',
    )!
    const service = rendered.find(({ kind }) => kind === 'Service')!.metadata
    assert.deepEqual(
      [spec.containers[0].args, spec.volumes[0].secret.secretName, spec.serviceAccountName],
      [['webhook', '--certificate=/certificate'], secret.spec.secretName, undefined],
    )
    assert.deepEqual(secret.spec.dnsNames, [`${service.name}.${service.namespace}.svc`])
  },
)

test('OPA has its certificate from cert-manager with both components', withCrds, async () => {
  const accepted = await dryRun('components/opa', 'components/cert-manager')
  assert.match(accepted, /^certificate.cert-manager.io\/lightpath-webhook serverside-applied/m)
  const rendered = await render('webhook', 'components/opa', 'components/cert-manager')
  const deployments = rendered.filter(({ kind }) => kind === 'Deployment')
  assert.deepEqual(
    deployments.map(({ metadata }) => metadata.name),
    ['lightpath-opa'],
  )
})

/** What the API server would make of deploy/webhook with these components. */
function dryRun(...components: readonly string[]): Promise<string> {
  return dryRunOf('webhook', ...components)
}

function dryRunOf(resource: string, ...components: readonly string[]): Promise<string> {
  const kubeconfig = server.kubeconfig('admin', `token: ${adminToken}`)
  const apply = ['--kubeconfig', kubeconfig, 'apply', '--server-side', '--dry-run=server', '-k']
  return withKustomization(resource, components, directory => kubectl(...apply, directory))
}
