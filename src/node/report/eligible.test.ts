import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestPlan } from '../../plan/testing.ts'
import { namespaces, serviceOf, vectors } from '../../services/handover/vectors.ts'
import type { Change } from '../../services/objects/objects.ts'
import { parseObject } from '../../services/parse/parse.ts'
import { eligibleServices } from './eligible.ts'

const proxyName = 'service.kubernetes.io/service-proxy-name'

test('eligible are the Services that admission would have handed over and that have no label yet', () => {
  const plan = planOf('labelled')
  const expected = vectors.flatMap(({ expected, labels, namespace }, i) =>
    expected === 'lightpath.cloud' && labels?.[proxyName] === undefined ? [`${namespace}/vector-${i}`] : [],
  )
  assert.ok(expected.length > 0)
  assert.deepEqual(eligibleServices(plan), expected)
})

test('an agent that serves all Services reports none as eligible', () => {
  assert.deepEqual(eligibleServices(planOf('all')), [])
})

function planOf(scope: 'all' | 'labelled'): TestPlan {
  const plan = new TestPlan({ scope })
  const raw = [
    ...Object.entries(namespaces).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    })),
    ...vectors.map((vector, i) => {
      const { metadata, spec, ...kind } = serviceOf(vector, `vector-${i}`)
      const hasVip = vector.spec?.type !== 'ExternalName'
      return {
        ...kind,
        metadata: { ...metadata, namespace: vector.namespace },
        spec: { ...(hasVip && { clusterIP: `10.96.0.${i + 1}` }), ...spec },
      }
    }),
  ]
  plan.tell(raw.map((one): Change => ({ type: 'put', object: parseObject(one).object! })))
  return plan
}
