import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { namespaces, serviceOf, type Vector, vectors } from '../../src/webhook/vectors.ts'
import { ApiServerProcess, noApiServer } from './apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const policies = '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies'
const proxyName = 'service.kubernetes.io/service-proxy-name'
const plain = vectors[0]!

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await server.makeNamespaces(namespaces)
  await create(plain, 'earlier')
  const file = new URL('../../deploy/components/admission-policy/policy.yaml', import.meta.url)
  const [policy, binding] = parseAllDocuments(readFileSync(file, 'utf8')).map(document => document.toJS())
  await server.must('POST', policies, policy)
  await server.must('POST', policies.replace(/policies$/, 'policybindings'), binding)
  await untilInForce()
})

after(async () => {
  await server.stop()
})

for (const [i, vector] of vectors.entries()) {
  const says = vector.expected === undefined ? 'no label' : `the label is "${vector.expected}"`
  test(`the admission policy, ${vector.title}: ${says}`, options, async () => {
    const labels = { ...vector.labels, ...(vector.expected !== undefined && { [proxyName]: vector.expected }) }
    assert.deepEqual(await create(vector, `vector-${i}`), labels)
  })
}

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

/** The labels of a Service once it is created. */
async function create(vector: Vector, name: string): Promise<Readonly<Record<string, string>>> {
  const path = `/api/v1/namespaces/${vector.namespace}/services`
  return labelsOf(await server.must('POST', path, serviceOf(vector, name)))
}

function labelsOf(service: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  return (service.metadata as { labels?: Record<string, string> }).labels ?? {}
}

/** The API server hears of its own policies by a watch. */
async function untilInForce(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await create(plain, `trial-${tries}`))[proxyName] !== undefined) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('the policy is not in force after 100 Services')
}
