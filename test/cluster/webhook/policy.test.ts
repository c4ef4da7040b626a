import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { serviceOf } from '../../../src/services/handover/vectors.ts'
import { ApiServerProcess, noAdmissionPolicies, noApiServer } from '../apiserver.ts'
import { Admission, labelsOf, plain, proxyName } from './admission.ts'

const options = { skip: noApiServer ?? noAdmissionPolicies, timeout: 120_000 }
const server = new ApiServerProcess()
const policies = '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies'
const admission = new Admission(server)

before(async () => {
  if (options.skip !== undefined) return
  await server.start()
  await admission.makeNamespaces()
  await server.must('POST', '/api/v1/namespaces/shop/services', serviceOf(plain, 'earlier'))
  const file = new URL('../../../deploy/components/admission-policy/policy.yaml', import.meta.url)
  const [policy, binding] = parseAllDocuments(readFileSync(file, 'utf8')).map(document => document.toJS())
  await server.must('POST', policies, policy)
  await server.must('POST', policies.replace(/policies$/, 'policybindings'), binding)
  await admission.untilInForce()
})

after(async () => {
  await server.stop()
})

admission.testVectors('the admission policy', options)

test('the admission policy leaves Services alone that are changed, not created', options, async () => {
  const changed = await server.must('PATCH', '/api/v1/namespaces/shop/services/earlier', {
    metadata: { labels: { app: 'a' } },
  })
  assert.deepEqual(labelsOf(changed), { app: 'a' })
})

test('the admission policy leaves the API server’s own Service to kube-proxy', options, async () => {
  const kubernetes = '/api/v1/namespaces/default/services/kubernetes'
  await server.must('DELETE', kubernetes)
  const made = await server.ask('POST', kubernetes.replace(/\/kubernetes$/, ''), serviceOf(plain, 'kubernetes'))
  // The API server may have been quicker to make it again.
  assert.ok(made.status === 201 || made.status === 409, JSON.stringify(made.body))
  assert.equal(labelsOf(await server.must('GET', kubernetes))[proxyName], undefined)
})
