import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ClusterFacts } from '../services/clusterfacts.ts'
import { type LabelRequirement, selects } from '../services/objects/networkpolicy.ts'
import type { Change } from '../services/objects/objects.ts'
import { parseObject } from '../services/parse/parse.ts'
import { anEndpoint, aPort, aService, aSlice } from '../services/testing.ts'
import { TestPlan } from './testing.ts'

function put(raw: object): Change {
  const { object, problems } = parseObject(raw)
  assert.deepEqual(problems, [])
  return { type: 'put', object: object! }
}

interface PodOptions {
  readonly labels?: object
  readonly node?: string
  readonly namespace?: string
}

function pod(
  name: string,
  ip: string | undefined,
  { labels, node = 'node1', namespace = 'shop' }: PodOptions = {},
): object {
  const spec = { nodeName: node }
  const status = { phase: 'Running', ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }, { ip: 'FD00::1' }] }) }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name, labels }, spec, status }
}

function policy(name: string, spec: object, namespace = 'shop'): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name }, spec }
}

const toldAll = { tellsPods: true, podRanges: [] }

const forWeb = policy('web', { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Egress'] })
const forClosed = policy('closed', { podSelector: { matchLabels: { app: 'closed' } }, policyTypes: ['Ingress'] })
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

function barredBy(knowledge: { tellsPods: boolean; podRanges?: readonly string[] }, ...raws: readonly object[]) {
  const facts = new ClusterFacts({ podRanges: [], ...knowledge })
  facts.apply(raws.map(put))
  return (ip: string, isPod = true) => facts.pods.whyBarred('shop', ip, isPod)?.why
}

const allowing = policy('in', { podSelector: {}, ingress: [{}] })
const node1 = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' } }

test('where the source has Pods, Envoy connects to known pods of the Service’s namespace and to nobody else', () => {
  const foreign = pod('db', '10.1.0.2', { namespace: 'other' })
  const node = { ...node1, status: { addresses: [{ type: 'InternalIP', address: '172.30.0.1' }] } }
  const why = barredBy({ tellsPods: true }, pod('web', '10.1.0.1'), foreign, node)
  assert.equal(why('10.1.0.1'), undefined)
  assert.match(why('10.1.0.1', false)!, /does not name a Pod of namespace shop as its target/)
  assert.match(why('10.1.0.2')!, /a pod of namespace other has that address/)
  assert.match(why('10.1.0.3')!, /no known pod of namespace shop/)
  assert.match(why('172.30.0.1')!, /address of a node/)
})

test('nor to one that a policy for ingress selects, whom ever that admits', () => {
  assert.match(
    barredBy({ tellsPods: true }, pod('web', '10.1.0.1'), allowing)('10.1.0.1')!,
    /NetworkPolicy shop\/in selects its pod shop\/web/,
  )
  assert.equal(barredBy({ tellsPods: true }, pod('web', '10.1.0.1'), forWeb)('10.1.0.1'), undefined)
})

test('of two pods with one address the same one is named, whichever was told last', () => {
  const [a, b] = [pod('a', '10.1.0.1'), pod('b', '10.1.0.1')]
  for (const told of [
    [a, b],
    [b, a],
    [a, b, a],
  ])
    assert.match(barredBy({ tellsPods: true }, allowing, ...told)('10.1.0.1')!, /selects its pod shop\/a$/)
})

test('of policies of network plugins the direction counts, and each selects all pods that it could', () => {
  const why = (apiVersion: string, kind: string, spec: object, namespace?: string) => {
    const plugin = { apiVersion, kind, metadata: { namespace, name: 'p' }, spec }
    return barredBy({ tellsPods: true }, pod('web', '10.1.0.1'), plugin)('10.1.0.1') ?? 'admitted'
  }
  assert.match(
    why('cilium.io/v2', 'CiliumNetworkPolicy', { ingress: [] }, 'shop'),
    /CiliumNetworkPolicy.cilium.io shop\/p selects/,
  )
  assert.match(why('cilium.io/v9', 'CiliumClusterwideNetworkPolicy', { ingressDeny: [] }), /Clusterwide/)
  assert.match(why('crd.projectcalico.org/v1', 'GlobalNetworkPolicy', { types: ['Ingress'] }), /GlobalNetworkPolicy/)
  assert.match(
    why('crd.projectcalico.org/v1', 'NetworkPolicy', {}, 'shop'),
    /NetworkPolicy.crd.projectcalico.org shop\/p/,
  )
  assert.match(why('policy.networking.k8s.io/v1alpha1', 'AdminNetworkPolicy', { ingress: [{}] }), /AdminNetworkPolicy/)
  assert.equal(why('cilium.io/v2', 'CiliumNetworkPolicy', { egress: [{}] }, 'shop'), 'admitted')
  const denies = (ingress: boolean) => ({ egress: [{}], enableDefaultDeny: { ingress } })
  assert.match(
    why('cilium.io/v2', 'CiliumNetworkPolicy', denies(true), 'shop'),
    /CiliumNetworkPolicy.cilium.io shop\/p/,
  )
  assert.equal(why('cilium.io/v2', 'CiliumNetworkPolicy', denies(false), 'shop'), 'admitted')
  assert.equal(why('cilium.io/v2', 'CiliumNetworkPolicy', { ingress: [{}] }, 'other'), 'admitted')
})

test('where a directory has no Pods of a namespace, a target reference or a pod’s address says that it is one', () => {
  const node = { ...node1, spec: { podCIDRs: ['10.1.0.0/24'] } }
  const why = barredBy({ tellsPods: false, podRanges: ['10.0.0.0/8'] }, node)
  assert.equal(why('10.1.0.1', false), undefined)
  assert.equal(why('10.2.0.1', true), undefined)
  assert.match(why('192.0.2.1')!, /outside the pods' addresses/)
  assert.match(barredBy({ tellsPods: false })('10.1.0.1', false)!, /does not name a Pod/)
  assert.match(barredBy({ tellsPods: false })('fd00:ec2::254')!, /metadata server/)
  assert.match(barredBy({ tellsPods: false }, allowing)('10.1.0.1')!, /NetworkPolicy shop\/in may select its pod/)
})

test('and with the first Pod of the namespace all of them are known', () => {
  const why = barredBy({ tellsPods: false }, pod('web', '10.1.0.1'))
  assert.equal(why('10.1.0.1'), undefined)
  assert.match(why('10.1.0.2')!, /no known pod/)
})

test('an address that its pod has left is not its Service’s end in Envoy, until somebody has it or the pod is gone', () => {
  const plan = new TestPlan({ knowledge: toldAll })
  const service = aService({ namespace: 'shop', name: 'web', ports: [aPort({ name: 'http' })] })
  const slice = (...ips: readonly string[]): Change => ({
    type: 'put',
    object: aSlice(
      ips.map(ip => anEndpoint(ip)),
      { namespace: 'shop', service: 'web' },
    ),
  })
  const inEnvoy = () => {
    const [state] = [...plan.states()]
    const admitted = state!.endpoints.filter(({ barred }) => barred === undefined)
    return state!.layer.wants === 'envoy' ? admitted.map(({ ip }) => ip).join() : state!.layer.reason
  }
  plan.tell([{ type: 'put', object: service }, put(pod('a', '10.1.0.1')), put(pod('b', '10.1.0.2'))])
  plan.tell([slice('10.1.0.1', '10.1.0.2')])
  assert.equal(inEnvoy(), '10.1.0.1,10.1.0.2')
  plan.tell([put(pod('b', undefined))])
  assert.equal(inEnvoy(), '10.1.0.1')
  plan.tell([put(pod('b', '10.1.0.3'))])
  assert.equal(inEnvoy(), '10.1.0.1')
  plan.tell([put(pod('stranger', '10.1.0.2', { namespace: 'other' }))])
  assert.equal(inEnvoy(), '10.1.0.1')
  plan.tell([put(pod('restricted', '10.1.0.2', { labels: { app: 'closed' } })), put(forClosed)])
  assert.match(inEnvoy(), /10\.1\.0\.2:/)
  plan.tell([slice('10.1.0.1', '10.1.0.3')])
  assert.equal(inEnvoy(), '10.1.0.1,10.1.0.3')
  plan.tell([slice('10.1.0.2')])
  assert.match(inEnvoy(), /10\.1\.0\.2:/)
  for (const [name, namespace] of [
    ['restricted', 'shop'],
    ['stranger', 'other'],
    ['b', 'shop'],
  ] as const)
    plan.tell([{ type: 'remove', key: { kind: 'Pod', namespace, name } }])
  plan.tell([slice('10.1.0.1', '10.1.0.2')])
  assert.match(inEnvoy(), /10\.1\.0\.2:8080: no known pod/)
})
