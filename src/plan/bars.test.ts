import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClusterFacts } from '../services/clusterfacts.ts'
import type { Change } from '../services/objects/objects.ts'
import { anEndpoint, aPort, aService, aSlice } from '../services/testing.ts'
import { TestPlan } from './testing.ts'
import { forClosed, forWeb, pod, policy, put, toldAll } from './testing-policies.ts'

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
  assert.match(why('networking.k8s.aws/v1alpha1', 'ClusterNetworkPolicy', { ingress: [{}] }), /ClusterNetworkPolicy/)
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
