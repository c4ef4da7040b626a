import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ClusterFacts } from '../services/clusterfacts.ts'
import { type LabelRequirement, selects } from '../services/objects/networkpolicy.ts'
import type { Change } from '../services/objects/objects.ts'
import { parseObject } from '../services/parse/parse.ts'
import { TestPlan } from './testing.ts'
import { forWeb, pod, policy, put, toldAll } from './testing-policies.ts'

const forAll = policy('all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })

function clientsOf(...raws: readonly object[]): readonly string[] {
  const plan = new TestPlan({ knowledge: toldAll })
  plan.tell(raws.map(put))
  return plan.policies.clients().map(({ pod, reason }) => `${pod}: ${reason}`)
}

test('a pod that a policy with egress selects stays in the kernel layer, with all its addresses', () => {
  const plan = new TestPlan({ knowledge: toldAll })
  plan.tell([put(pod('web', '10.1.0.1', { labels: { app: 'web' } })), put(pod('db', '10.1.0.2')), put(forWeb)])
  assert.deepEqual(plan.policies.clients(), [
    { pod: 'shop/web', addresses: ['10.1.0.1', 'fd00::1'], reason: 'NetworkPolicy shop/web' },
  ])
})

test('a policy holds in its own namespace, and an empty selector selects every pod there', () => {
  assert.deepEqual(clientsOf(pod('a', '10.1.0.1'), pod('b', '10.1.0.2', { namespace: 'other' }), forAll), [
    'shop/a: NetworkPolicy shop/all',
  ])
})

test('pods of other nodes, of the host’s network and those that have ended do not count', () => {
  const host = { ...pod('host', '10.1.0.3'), spec: { nodeName: 'node1', hostNetwork: true } }
  const ended = { ...pod('ended', '10.1.0.4'), status: { phase: 'Succeeded', podIP: '10.1.0.4' } }
  for (const raw of [host, ended]) assert.equal(parseObject(raw).object, undefined)
  assert.deepEqual(clientsOf(pod('far', '10.1.0.1', { node: 'node2' }), forAll), [])
})

test('a policy for ingress keeps no pod from connecting by Envoy, and without policyTypes egress rules tell', () => {
  const ingress = policy('in', { podSelector: {}, policyTypes: ['Ingress'], egress: [{}] })
  const silent = policy('silent', { podSelector: {} })
  assert.deepEqual(clientsOf(pod('a', '10.1.0.1'), ingress, silent), [])
  assert.deepEqual(clientsOf(pod('a', '10.1.0.1'), policy('out', { podSelector: {}, egress: [{}] })), [
    'shop/a: NetworkPolicy shop/out',
  ])
})

test('a pod with the opt-out label stays in the kernel layer without a policy', () => {
  assert.deepEqual(clientsOf(pod('a', '10.1.0.1', { labels: { 'lightpath.cloud/proxy': 'disabled' } })), [
    'shop/a: label lightpath.cloud/proxy: disabled',
  ])
})

test('labels, policies and pods come and go', () => {
  const plan = new TestPlan({ knowledge: toldAll })
  const names = () => plan.policies.clients().map(({ pod }) => pod)
  plan.tell([put(forWeb), put(pod('a', '10.1.0.1'))])
  assert.deepEqual(names(), [])
  plan.tell([put(pod('a', '10.1.0.1', { labels: { app: 'web' } }))])
  assert.deepEqual(names(), ['shop/a'])
  plan.tell([{ type: 'remove', key: { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' } }])
  assert.deepEqual(names(), [])
  plan.tell([put(forAll)])
  plan.tell([{ type: 'remove', key: { kind: 'Pod', namespace: 'shop', name: 'a' } }])
  assert.deepEqual(names(), [])
})

test('a selector that cannot be read selects more pods, not fewer, and is reported', () => {
  const matchExpressions = [{ key: 'app', operator: 'Like', values: ['w*'] }]
  const { object, problems } = parseObject(
    policy('odd', { podSelector: { matchExpressions }, policyTypes: ['Egress'] }),
  )
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['LP102'],
  )
  const plan = new TestPlan({ knowledge: toldAll })
  plan.tell([{ type: 'put', object: object! }, put(pod('a', '10.1.0.1'))])
  assert.equal(plan.policies.clients().length, 1)
})

test('a label that is named like what every object has is there only where the pod has it', () => {
  for (const key of ['constructor', 'toString', 'hasOwnProperty']) {
    const without = { matchLabels: {}, matchExpressions: [{ key, operator: 'DoesNotExist', values: [] } as const] }
    assert.equal(selects(without, {}), true)
    assert.equal(selects(without, { [key]: 'x' }), false)
    assert.equal(selects({ ...without, matchExpressions: [{ key, operator: 'Exists', values: [] }] }, {}), false)
  }
})

test('a selector of more requirements than anybody needs selects more pods, and is reported', () => {
  const matchLabels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`label-${i}`, 'x']))
  const { object, problems } = parseObject(policy('large', { podSelector: { matchLabels }, policyTypes: ['Egress'] }))
  assert.match(problems[0]!.reason, /has 5000 labels and requirements/)
  const plan = new TestPlan({ knowledge: toldAll })
  const labels = Object.fromEntries(Object.entries(matchLabels).slice(0, 100))
  plan.tell([{ type: 'put', object: object! }, put(pod('a', '10.1.0.1', { labels })), put(pod('b', '10.1.0.2'))])
  assert.deepEqual(
    plan.policies.clients().map(({ pod }) => pod),
    ['shop/a'],
  )
})

test('whether policies come at once or one by one, before or after the pods, the same ones are named', () => {
  const apps = ['web', 'db']
  const anyPolicy = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    namespace: fc.constantFrom('shop', ''),
    direction: fc.constantFrom('Ingress', 'Egress'),
    app: fc.constantFrom(...apps),
    isGone: fc.boolean(),
  })
  const changeOf = ({
    name,
    namespace,
    direction,
    app,
    isGone,
  }: typeof anyPolicy extends fc.Arbitrary<infer T> ? T : never): Change => {
    if (namespace === '') {
      const cluster = {
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: 'AdminNetworkPolicy',
        metadata: { name },
      }
      const kind = 'AdminNetworkPolicy.policy.networking.k8s.io'
      return isGone
        ? { type: 'remove', key: { kind, namespace, name } }
        : put({ ...cluster, spec: { [direction.toLowerCase()]: [{}] } })
    }
    if (isGone) return { type: 'remove', key: { kind: 'NetworkPolicy', namespace, name } }
    return put(policy(name, { podSelector: { matchLabels: { app } }, policyTypes: [direction] }))
  }
  const pods = apps.map((app, i) => put(pod(app, `10.1.0.${i}`, { labels: { app } })))
  const judged = (...batches: readonly (readonly Change[])[]) => {
    const facts = new ClusterFacts(toldAll)
    for (const batch of batches) facts.apply(batch)
    return [...facts.pods.pods()].map(({ ingress, egress }) => [ingress, egress])
  }
  fc.assert(
    fc.property(fc.array(anyPolicy, { maxLength: 12 }), all => {
      const changes = all.map(changeOf)
      const last = judged(changes, pods)
      assert.deepEqual(judged(pods, ...changes.map(change => [change])), last)
      assert.deepEqual(judged(pods, changes), last)
      assert.deepEqual(judged([...changes, ...pods]), last)
    }),
  )
})

test('for all labels, a requirement and its opposite never agree', () => {
  const labels = fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('x', 'y'))
  const values = fc.subarray(['x', 'y'])
  fc.assert(
    fc.property(labels, values, fc.constantFrom(['In', 'NotIn'], ['Exists', 'DoesNotExist']), (own, list, pair) => {
      const [one, other] = pair.map(operator =>
        selects({ matchLabels: {}, matchExpressions: [{ key: 'a', operator, values: list } as LabelRequirement] }, own),
      )
      assert.notEqual(one, other)
    }),
  )
})
