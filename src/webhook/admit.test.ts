import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { whyLeft } from '../services/handover/rule.ts'
import { namespaces, serviceOf, vectors } from '../services/handover/vectors.ts'
import { admit } from './admit.ts'

const proxyName = 'service.kubernetes.io/service-proxy-name'
const path = '/metadata/labels/service.kubernetes.io~1service-proxy-name'
const kind = { group: '', version: 'v1', kind: 'Service' }
const aService = serviceOf(vectors[0]!, 'a')

const review = (object: unknown, request: object = {}) => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: { uid: '1', kind, operation: 'CREATE', namespace: 'shop', object, ...request },
})

for (const vector of vectors) {
  test(`${vector.title}: ${vector.expected === undefined ? 'no label' : `the label is "${vector.expected}"`}`, () => {
    const service = serviceOf(vector, 'a')
    const patch = admit(review(service, { namespace: vector.namespace }), namespaces[vector.namespace])
    assert.equal(applied(service.metadata.labels ?? {}, patch)[proxyName], vector.expected)
  })
}

test('labels of no kind but a map are replaced, one that is there gets a member', () => {
  const [none] = admit(review({ metadata: { labels: null } }), {})
  assert.deepEqual(none, { op: 'add', path: '/metadata/labels', value: { [proxyName]: 'lightpath.cloud' } })
  const [empty] = admit(review({ metadata: { labels: {} } }), {})
  assert.deepEqual(empty, { op: 'add', path, value: 'lightpath.cloud' })
})

test('only the creation of a v1 Service is answered', () => {
  assert.equal(admit(review(aService), {}).length, 1)
  for (const operation of ['UPDATE', 'DELETE', 'CONNECT', undefined]) {
    assert.deepEqual(admit(review(aService, { operation }), {}), [])
  }
  for (const other of [{ group: 'x' }, { version: 'v2' }, { kind: 'Endpoints' }]) {
    assert.deepEqual(admit(review(aService, { kind: { ...kind, ...other } }), {}), [])
  }
  assert.deepEqual(admit(review(aService, { subResource: 'status' }), {}), [])
})

test('the API server’s own Service stays with kube-proxy, another of its name does not', () => {
  const kubernetes = { metadata: { name: 'kubernetes' } }
  assert.deepEqual(admit(review(kubernetes, { namespace: 'default' }), {}), [])
  assert.equal(admit(review(kubernetes), {}).length, 1)
  assert.equal(whyLeft({ metadata: { namespace: 'default', name: 'kubernetes' } }, {}), 'it is the API server')
})

test('whatever it is asked, nothing changes but that one label, and one that is there stays', () => {
  const key = fc.oneof(fc.constantFrom(proxyName, 'lightpath.cloud/proxy'), fc.string())
  const someLabels = fc.dictionary(key, fc.oneof(fc.constant('disabled'), fc.string()))
  const object = fc.oneof(
    fc.record({ metadata: fc.record({ labels: someLabels }), spec: fc.object() }, { requiredKeys: [] }),
    fc.anything(),
  )
  fc.assert(
    fc.property(object, someLabels, (object, namespaceLabels) => {
      const patch = admit(review(object), namespaceLabels)
      const before = (object as { metadata?: { labels?: Record<string, string> } } | undefined)?.metadata?.labels
      const labels = typeof before === 'object' && before !== null ? before : {}
      const { [proxyName]: now, ...others } = applied(labels, patch)
      const { [proxyName]: was, ...othersBefore } = labels
      assert.deepEqual(others, othersBefore)
      assert.ok(now === was || (was === undefined && now === 'lightpath.cloud'))
    }),
  )
})

/** The labels after a patch of labels alone. */
function applied(labels: Readonly<Record<string, string>>, patch: ReturnType<typeof admit>): Record<string, string> {
  const after = { ...labels }
  for (const operation of patch) {
    assert.equal(operation.op, 'add')
    if (typeof operation.value === 'string') {
      assert.equal(operation.path, path)
      after[proxyName] = operation.value
    } else {
      assert.equal(operation.path, '/metadata/labels')
      assert.deepEqual(after, {}, 'labels that are there would be lost')
      Object.assign(after, operation.value)
    }
  }
  return after
}
