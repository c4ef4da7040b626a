import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Service } from '../services/objects/service.ts'
import { aNamespace, aNode, anEndpoint, aPort, aService, aSlice, put, remove } from '../services/testing.ts'
import { planOf, stateOf, TestPlan } from './testing.ts'

describe('a Service', () => {
  test('comes with its endpoints, whichever of the two arrives first', () => {
    const [service, slice] = [aService(), aSlice([anEndpoint('10.244.1.2')])]
    for (const objects of [
      [service, slice],
      [slice, service],
    ]) {
      assert.deepEqual(
        stateOf(planOf(...objects)).endpoints.map(({ ip }) => ip),
        ['10.244.1.2'],
      )
    }
  })
  test('of the same name in another namespace is another Service', () => {
    const plan = planOf(
      aService(),
      aService({ namespace: 'b', clusterIPs: ['10.96.0.11'] }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    assert.equal(stateOf(plan, 'b/whoami/http').endpoints.length, 0)
  })
  test('that is dual-stack has a state a family, each with its own endpoints', () => {
    const plan = planOf(
      aService({ clusterIPs: ['10.96.0.10', 'fd00:96::a'] }),
      aSlice([anEndpoint('10.244.1.2')]),
      aSlice([anEndpoint('fd00:244:1::2')], { name: 'b', family: 'IPv6' }),
    )
    assert.deepEqual(
      stateOf(plan).endpoints.map(({ ip }) => ip),
      ['10.244.1.2'],
    )
    const second = stateOf(plan, 'whoami/whoami/http/IPv6')
    assert.deepEqual(
      second.endpoints.map(({ ip }) => ip),
      ['fd00:244:1::2'],
    )
    assert.equal(second.vip, 'fd00:96::a')
  })
  for (const [what, fields] of [
    ['without ports', { ports: [] }],
    ['that is headless', { clusterIPs: [] }],
    ['that is an ExternalName', { type: 'ExternalName', clusterIPs: [] }],
    ['of another proxy', { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } }],
  ] as [string, Partial<Service>][]) {
    test(`${what} is not served, and the view says why`, () => {
      const plan = planOf(aService(fields))
      assert.equal([...plan.states()].length, 0)
      assert.ok(plan.view('whoami', 'whoami')?.ignored)
    })
  }
  test('with the label lightpath.cloud is served', () => {
    stateOf(planOf(aService({ labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } })))
  })
})

describe('the layer', () => {
  const slice = aSlice([anEndpoint('10.244.1.2', { nodeName: 'node1' })], {
    ports: ['http', 'http-web', 'db', ''].map(name => ({ name, protocol: 'TCP', port: 8080 }) as const),
  })
  const overlay = (value: string, port = 'http') => ({ [`config.lightpath.cloud/${port}-overlay`]: value })
  for (const [what, wants, fields] of [
    ['a port named http goes to Envoy', 'envoy', {}],
    ['a port named http-web goes to Envoy', 'envoy', { ports: [aPort({ name: 'http-web' })] }],
    ['a port with appProtocol http goes to Envoy', 'envoy', { ports: [aPort({ name: 'db', appProtocol: 'http' })] }],
    ['appProtocol counts before the name', 'kernel', { ports: [aPort({ appProtocol: 'mysql' })] }],
    ['a plain TCP port stays in the kernel', 'kernel', { ports: [aPort({ name: 'db' })] }],
    [
      'a TCP port with overlay: true goes to Envoy',
      'envoy',
      { ports: [aPort({ name: 'db' })], annotations: overlay('true', 'db') },
    ],
    ['an http port with overlay: false stays in the kernel', 'kernel', { annotations: overlay('false') }],
    ['ClientIP affinity stays in the kernel', 'kernel', { sessionAffinity: 'ClientIP' }],
    ['a Local policy stays in the kernel', 'kernel', { internalTrafficPolicy: 'Local' }],
    ['the opt-out label keeps a Service in the kernel', 'kernel', { labels: { 'lightpath.cloud/proxy': 'disabled' } }],
  ] as [string, string, Partial<Service>][]) {
    test(what, () => {
      const [state] = [...planOf(aService(fields), slice).states()]
      assert.equal(state?.layer.wants, wants)
      assert.notEqual(state?.layer.reason, '')
    })
  }
  test('UDP stays in the kernel', () => {
    const [state] = [...planOf(aService({ ports: [aPort({ protocol: 'UDP' })] })).states()]
    assert.equal(state?.layer.wants, 'kernel')
  })
  test('without a usable endpoint a port leaves Envoy, and is back with the first', () => {
    const plan = planOf(aService())
    assert.equal(stateOf(plan).layer.wants, 'kernel')
    plan.tell([put(slice)])
    assert.equal(stateOf(plan).layer.wants, 'envoy')
  })
  test('the opt-out label of a Namespace is followed when it comes and goes', () => {
    const plan = planOf(aNamespace('whoami'), aService(), slice)
    assert.equal(stateOf(plan).layer.wants, 'envoy')
    plan.tell([put(aNamespace('whoami', { lightpath: 'disabled' }))])
    assert.equal(stateOf(plan).layer.wants, 'kernel')
    plan.tell([put(aNamespace('whoami', { lightpath: 'enabled' }))])
    assert.equal(stateOf(plan).layer.wants, 'envoy')
    plan.tell([put(aNamespace('whoami', { lightpath: 'disabled' })), remove(aNamespace('whoami'))])
    assert.equal(stateOf(plan).layer.wants, 'envoy')
  })
})

describe('a change', () => {
  test('that changes nothing is not reported', () => {
    const plan = planOf(
      aService({ annotations: { 'config.lightpath.cloud/http-num-retries': '1' } }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    const again = aService({ annotations: { 'config.lightpath.cloud/http-num-retries': '1', other: 'x' } })
    assert.deepEqual(plan.tell([put(again), put(aSlice([anEndpoint('10.244.1.2')]))]).ports, [])
  })
  test('of endpoints leaves settings and layer identical, so that only endpoints are published', () => {
    const plan = planOf(aService(), aSlice([anEndpoint('10.244.1.2')]))
    const { ports } = plan.tell([put(aSlice([anEndpoint('10.244.1.3')]))])
    assert.equal(ports.length, 1)
    const [{ before, after } = assert.fail()] = ports
    assert.equal(before?.settings, after?.settings)
    assert.equal(before?.layer, after?.layer)
    assert.notEqual(before?.endpoints, after?.endpoints)
  })
  test('that changes nothing of a UDP port, which also has its serving endpoints, is not reported', () => {
    const slice = aSlice([anEndpoint('10.244.1.2')], { ports: [{ name: 'http', protocol: 'UDP', port: 53 }] })
    const plan = planOf(aService({ ports: [aPort({ protocol: 'UDP' })] }), slice)
    assert.deepEqual(plan.tell([put({ ...slice })]).ports, [])
  })
  test('of the zone of this node chooses anew', () => {
    const endpoints = [anEndpoint('10.244.1.2', { forZones: ['a'] }), anEndpoint('10.244.1.3', { forZones: ['b'] })]
    const plan = planOf(aNode('a'), aService(), aSlice(endpoints))
    assert.deepEqual(
      stateOf(plan).endpoints.map(({ ip }) => ip),
      ['10.244.1.2'],
    )
    plan.tell([put(aNode('b'))])
    assert.deepEqual(
      stateOf(plan).endpoints.map(({ ip }) => ip),
      ['10.244.1.3'],
    )
  })
  test('that hands a slice to another Service moves its endpoints', () => {
    const plan = planOf(
      aService(),
      aService({ name: 'b', clusterIPs: ['10.96.0.11'] }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    plan.tell([put(aSlice([anEndpoint('10.244.1.2')], { service: 'b' }))])
    assert.equal(stateOf(plan).endpoints.length, 0)
    assert.equal(stateOf(plan, 'whoami/b/http').endpoints.length, 1)
  })
})

describe('an agent for labelled Services', () => {
  const label = 'service.kubernetes.io/service-proxy-name'
  const served = (labels: Record<string, string>) => {
    const plan = new TestPlan({ scope: 'labelled' })
    plan.tell([put(aService({ labels }))])
    return { ports: [...plan.states()].length, ignored: plan.view('whoami', 'whoami')?.ignored }
  }
  test('serves a Service that names it', () => {
    assert.deepEqual(served({ [label]: 'lightpath.cloud' }), { ports: 1, ignored: undefined })
  })
  test('leaves a Service without the label to kube-proxy, and says why', () => {
    const { ports, ignored } = served({})
    assert.equal(ports, 0)
    assert.match(ignored ?? '', /lacks the label .*: lightpath.cloud, which --services=labelled asks for/)
  })
  test('leaves a Service that names another proxy', () => {
    assert.match(served({ [label]: 'other' }).ignored ?? '', /another proxy serves it/)
  })
  test('serves a Service from when it gets the label', () => {
    const plan = new TestPlan({ scope: 'labelled' })
    for (const [labels, ports] of [
      [{}, 0],
      [{ [label]: 'lightpath.cloud' }, 1],
    ] as const) {
      plan.tell([put(aService({ labels }))])
      assert.equal([...plan.states()].length, ports)
    }
  })
})

describe('a Service that kube-proxy takes over', () => {
  const ours = put(aService({ labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } }))
  const key = 'whoami/whoami'
  const handedOver = () => {
    const plan = new TestPlan({ scope: 'labelled' })
    plan.tell([ours, put(aSlice([anEndpoint('10.244.1.2')]))])
    return { plan, update: plan.tell([put(aService())]) }
  }

  test('leaves Envoy at once, and the kernel follows its endpoints until it is released', () => {
    const { plan, update } = handedOver()
    assert.deepEqual(update.handedOver, [key])
    assert.equal(stateOf(plan).layer.wants, 'kernel')
    assert.match(stateOf(plan).layer.reason, /lacks the label .*; the kernel goes on until/)
    assert.deepEqual(plan.tell([put(aSlice([anEndpoint('10.244.1.3')]))]).handedOver, [])
    assert.deepEqual(
      stateOf(plan).endpoints.map(({ ip }) => ip),
      ['10.244.1.3'],
    )
    assert.deepEqual(
      plan.release(key).ports.map(({ after }) => after),
      [undefined],
    )
    assert.match(plan.view('whoami', 'whoami')?.ignored ?? '', /lacks the label/)
    assert.deepEqual(plan.tell([put(aSlice([anEndpoint('10.244.1.4')]))]).ports, [])
  })
  test('stays when it is ours again before it is released', () => {
    const { plan } = handedOver()
    plan.tell([ours])
    assert.deepEqual(plan.release(key).ports, [])
    assert.equal(stateOf(plan).layer.wants, 'envoy')
  })
  test('leaves its healthCheckNodePort at once, on which kube-proxy is to listen', () => {
    const plan = new TestPlan({ scope: 'labelled' })
    const service = aService({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 })
    const isOurs = put({ ...service, labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } })
    assert.equal(plan.tell([isOurs]).healthChecks.get(key)?.length, 1)
    assert.deepEqual(plan.tell([put(service)]).healthChecks.get(key), [])
    stateOf(plan)
  })
  test('goes at once when it is deleted meanwhile, and its VIP with it', () => {
    const { plan } = handedOver()
    const update = plan.tell([remove(aService())])
    assert.equal(update.ports[0]?.after, undefined)
    assert.deepEqual([...plan.states()], [])
  })
})

describe('external traffic', () => {
  const fields = { externalIPs: ['192.0.2.1'], loadBalancerIPs: ['192.0.2.2'], ports: [aPort({ nodePort: 30080 })] }
  const slice = aSlice([anEndpoint('10.244.1.2', { nodeName: 'node1' })])

  test('has its own part of the state, which a Service with a VIP only lacks', () => {
    assert.equal(stateOf(planOf(aService(), slice)).external, undefined)
    assert.deepEqual(stateOf(planOf(aService({ ...fields, externalTrafficPolicy: 'Local' }), slice)).external, {
      nodePort: 30080,
      externalIPs: ['192.0.2.1'],
      loadBalancerIPs: ['192.0.2.2'],
      sourceRanges: [],
      policy: 'Local',
      endpoints: stateOf(planOf(aService(), slice)).endpoints,
      clusterEndpoints: stateOf(planOf(aService(), slice)).endpoints,
      noLocalEndpoints: false,
      layer: { wants: 'kernel', reason: 'the setting external is not true' },
    })
  })
  test('does not keep the VIP from Envoy, whatever its policy', () => {
    const service = aService({ ...fields, externalTrafficPolicy: 'Local' })
    assert.equal(stateOf(planOf(service, slice)).layer.wants, 'envoy')
  })
  test('stays identical while nothing of it changes', () => {
    const plan = planOf(aService(fields), slice)
    const before = stateOf(plan)
    assert.deepEqual(plan.tell([put(aService({ ...fields })), put(aSlice(slice.endpoints))]).ports, [])
    plan.tell([put(aService({ ...fields, annotations: { 'config.lightpath.cloud/http-num-retries': '7' } }))])
    assert.notEqual(stateOf(plan), before)
    assert.equal(stateOf(plan).external, before.external)
    plan.tell([put(aService({ ...fields, loadBalancerSourceRanges: ['10.0.0.0/8'] }))])
    assert.deepEqual(stateOf(plan).external?.sourceRanges, ['10.0.0.0/8'])
    assert.equal(stateOf(plan).external?.endpoints, before.external?.endpoints)
  })
  test('opens the same node port in both families of a dual-stack Service', () => {
    const plan = planOf(aService({ ...fields, clusterIPs: ['10.96.0.10', 'fd00:96::a'] }))
    assert.equal(stateOf(plan, 'whoami/whoami/http/IPv6').external?.nodePort, 30080)
  })
})

test('the Service ranges are those of all ServiceCIDRs that there are', () => {
  const plan = new TestPlan()
  const tell = (name: string, ...cidrs: string[]) => plan.tell([put({ kind: 'ServiceCIDR', name, cidrs })])
  tell('kubernetes', '10.96.0.0/12', 'fd00::/108')
  tell('more', '10.200.0.0/16')
  tell('kubernetes', '10.96.0.0/12')
  assert.deepEqual(plan.facts.services.serviceRanges, ['10.96.0.0/12', '10.200.0.0/16'])
  plan.tell([{ type: 'remove', key: { kind: 'ServiceCIDR', namespace: '', name: 'more' } }])
  assert.deepEqual(plan.facts.services.serviceRanges, ['10.96.0.0/12'])
})

describe('session affinity', () => {
  test('has its time in the state where it is ClientIP, and keeps the port in the kernel', () => {
    const slice = aSlice([anEndpoint('10.244.1.2')])
    const { affinitySeconds, layer } = stateOf(planOf(aService({ sessionAffinity: 'ClientIP' }), slice))
    assert.equal(affinitySeconds, 10_800)
    assert.equal(layer.wants, 'kernel')
    assert.equal(stateOf(planOf(aService(), slice)).affinitySeconds, undefined)
  })
})
