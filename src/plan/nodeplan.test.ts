import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Service } from '../services/objects/service.ts'
import { aNamespace, aNode, anEndpoint, aPort, aService, aSlice, put, remove } from '../services/testing.ts'
import { ServiceTable } from './nodeplan.ts'
import { stateOf, tableOf } from './testing.ts'

describe('a Service', () => {
  test('comes with its endpoints, whichever of the two arrives first', () => {
    const [service, slice] = [aService(), aSlice([anEndpoint('10.244.1.2')])]
    for (const objects of [
      [service, slice],
      [slice, service],
    ]) {
      assert.deepEqual(
        stateOf(tableOf(...objects)).endpoints.map(({ ip }) => ip),
        ['10.244.1.2'],
      )
    }
  })
  test('of the same name in another namespace is another Service', () => {
    const table = tableOf(
      aService(),
      aService({ namespace: 'b', clusterIPs: ['10.96.0.11'] }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    assert.equal(stateOf(table, 'b/whoami/http').endpoints.length, 0)
  })
  test('that is dual-stack has a state a family, each with its own endpoints', () => {
    const table = tableOf(
      aService({ clusterIPs: ['10.96.0.10', 'fd00:96::a'] }),
      aSlice([anEndpoint('10.244.1.2')]),
      aSlice([anEndpoint('fd00:244:1::2')], { name: 'b', family: 'IPv6' }),
    )
    assert.deepEqual(
      stateOf(table).endpoints.map(({ ip }) => ip),
      ['10.244.1.2'],
    )
    const second = stateOf(table, 'whoami/whoami/http/IPv6')
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
      const table = tableOf(aService(fields))
      assert.equal([...table.states()].length, 0)
      assert.ok(table.view('whoami', 'whoami')?.ignored)
    })
  }
  test('with the label lightpath.cloud is served', () => {
    stateOf(tableOf(aService({ labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } })))
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
      const [state] = [...tableOf(aService(fields), slice).states()]
      assert.equal(state?.layer.wants, wants)
      assert.notEqual(state?.layer.reason, '')
    })
  }
  test('UDP stays in the kernel', () => {
    const [state] = [...tableOf(aService({ ports: [aPort({ protocol: 'UDP' })] })).states()]
    assert.equal(state?.layer.wants, 'kernel')
  })
  test('without a usable endpoint a port leaves Envoy, and is back with the first', () => {
    const table = tableOf(aService())
    assert.equal(stateOf(table).layer.wants, 'kernel')
    table.apply([put(slice)])
    assert.equal(stateOf(table).layer.wants, 'envoy')
  })
  test('the opt-out label of a Namespace is followed when it comes and goes', () => {
    const table = tableOf(aNamespace('whoami'), aService(), slice)
    assert.equal(stateOf(table).layer.wants, 'envoy')
    table.apply([put(aNamespace('whoami', { lightpath: 'disabled' }))])
    assert.equal(stateOf(table).layer.wants, 'kernel')
    table.apply([put(aNamespace('whoami', { lightpath: 'enabled' }))])
    assert.equal(stateOf(table).layer.wants, 'envoy')
    table.apply([put(aNamespace('whoami', { lightpath: 'disabled' })), remove(aNamespace('whoami'))])
    assert.equal(stateOf(table).layer.wants, 'envoy')
  })
})

describe('a change', () => {
  test('that changes nothing is not reported', () => {
    const table = tableOf(
      aService({ annotations: { 'config.lightpath.cloud/http-num-retries': '1' } }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    const again = aService({ annotations: { 'config.lightpath.cloud/http-num-retries': '1', other: 'x' } })
    assert.deepEqual(table.apply([put(again), put(aSlice([anEndpoint('10.244.1.2')]))]).ports, [])
  })
  test('of endpoints leaves settings and layer identical, so that only endpoints are told', () => {
    const table = tableOf(aService(), aSlice([anEndpoint('10.244.1.2')]))
    const { ports } = table.apply([put(aSlice([anEndpoint('10.244.1.3')]))])
    assert.equal(ports.length, 1)
    const [{ before, after } = assert.fail()] = ports
    assert.equal(before?.settings, after?.settings)
    assert.equal(before?.layer, after?.layer)
    assert.notEqual(before?.endpoints, after?.endpoints)
  })
  test('that changes nothing of a UDP port, whose endpoints that answer are told too, is not reported', () => {
    const slice = aSlice([anEndpoint('10.244.1.2')], { ports: [{ name: 'http', protocol: 'UDP', port: 53 }] })
    const table = tableOf(aService({ ports: [aPort({ protocol: 'UDP' })] }), slice)
    assert.deepEqual(table.apply([put({ ...slice })]).ports, [])
  })
  test('of the zone of this node chooses anew', () => {
    const endpoints = [anEndpoint('10.244.1.2', { forZones: ['a'] }), anEndpoint('10.244.1.3', { forZones: ['b'] })]
    const table = tableOf(aNode('a'), aService(), aSlice(endpoints))
    assert.deepEqual(
      stateOf(table).endpoints.map(({ ip }) => ip),
      ['10.244.1.2'],
    )
    table.apply([put(aNode('b'))])
    assert.deepEqual(
      stateOf(table).endpoints.map(({ ip }) => ip),
      ['10.244.1.3'],
    )
  })
  test('that hands a slice to another Service moves its endpoints', () => {
    const table = tableOf(
      aService(),
      aService({ name: 'b', clusterIPs: ['10.96.0.11'] }),
      aSlice([anEndpoint('10.244.1.2')]),
    )
    table.apply([put(aSlice([anEndpoint('10.244.1.2')], { service: 'b' }))])
    assert.equal(stateOf(table).endpoints.length, 0)
    assert.equal(stateOf(table, 'whoami/b/http').endpoints.length, 1)
  })
})

describe('an agent for labelled Services', () => {
  const label = 'service.kubernetes.io/service-proxy-name'
  const served = (labels: Record<string, string>) => {
    const table = new ServiceTable('node1', { scope: 'labelled' })
    table.apply([put(aService({ labels }))])
    return { ports: [...table.states()].length, ignored: table.view('whoami', 'whoami')?.ignored }
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
    const table = new ServiceTable('node1', { scope: 'labelled' })
    for (const [labels, ports] of [
      [{}, 0],
      [{ [label]: 'lightpath.cloud' }, 1],
    ] as const) {
      table.apply([put(aService({ labels }))])
      assert.equal([...table.states()].length, ports)
    }
  })
})

describe('a Service that kube-proxy takes over', () => {
  const ours = put(aService({ labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } }))
  const key = 'whoami/whoami'
  const handedOver = () => {
    const table = new ServiceTable('node1', { scope: 'labelled' })
    table.apply([ours, put(aSlice([anEndpoint('10.244.1.2')]))])
    return { table, update: table.apply([put(aService())]) }
  }

  test('leaves Envoy at once, and the kernel follows its endpoints until it is released', () => {
    const { table, update } = handedOver()
    assert.deepEqual(update.handedOver, [key])
    assert.equal(stateOf(table).layer.wants, 'kernel')
    assert.match(stateOf(table).layer.reason, /lacks the label .*; the kernel goes on until/)
    assert.deepEqual(table.apply([put(aSlice([anEndpoint('10.244.1.3')]))]).handedOver, [])
    assert.deepEqual(
      stateOf(table).endpoints.map(({ ip }) => ip),
      ['10.244.1.3'],
    )
    assert.deepEqual(
      table.release(key).ports.map(({ after }) => after),
      [undefined],
    )
    assert.match(table.view('whoami', 'whoami')?.ignored ?? '', /lacks the label/)
    assert.deepEqual(table.apply([put(aSlice([anEndpoint('10.244.1.4')]))]).ports, [])
  })
  test('stays when it is ours again before it is released', () => {
    const { table } = handedOver()
    table.apply([ours])
    assert.deepEqual(table.release(key).ports, [])
    assert.equal(stateOf(table).layer.wants, 'envoy')
  })
  test('leaves its healthCheckNodePort at once, on which kube-proxy is to listen', () => {
    const table = new ServiceTable('node1', { scope: 'labelled' })
    const service = aService({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 })
    const isOurs = put({ ...service, labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } })
    assert.equal(table.apply([isOurs]).healthChecks.get(key)?.length, 1)
    assert.deepEqual(table.apply([put(service)]).healthChecks.get(key), [])
    stateOf(table)
  })
  test('goes at once when it is deleted meanwhile, and its VIP with it', () => {
    const { table } = handedOver()
    const update = table.apply([remove(aService())])
    assert.equal(update.ports[0]?.after, undefined)
    assert.deepEqual([...table.states()], [])
  })
})

describe('traffic from outside', () => {
  const fields = { externalIPs: ['192.0.2.1'], loadBalancerIPs: ['192.0.2.2'], ports: [aPort({ nodePort: 30080 })] }
  const slice = aSlice([anEndpoint('10.244.1.2', { nodeName: 'node1' })])

  test('has its own part of the state, which a Service with a VIP only lacks', () => {
    assert.equal(stateOf(tableOf(aService(), slice)).external, undefined)
    assert.deepEqual(stateOf(tableOf(aService({ ...fields, externalTrafficPolicy: 'Local' }), slice)).external, {
      nodePort: 30080,
      externalIPs: ['192.0.2.1'],
      loadBalancerIPs: ['192.0.2.2'],
      sourceRanges: [],
      policy: 'Local',
      endpoints: stateOf(tableOf(aService(), slice)).endpoints,
      clusterEndpoints: stateOf(tableOf(aService(), slice)).endpoints,
      onlyElsewhere: false,
      layer: { wants: 'kernel', reason: 'the setting external is not true' },
    })
  })
  test('does not keep the VIP from Envoy, whatever its policy', () => {
    const service = aService({ ...fields, externalTrafficPolicy: 'Local' })
    assert.equal(stateOf(tableOf(service, slice)).layer.wants, 'envoy')
  })
  test('stays identical while nothing of it changes', () => {
    const table = tableOf(aService(fields), slice)
    const before = stateOf(table)
    assert.deepEqual(table.apply([put(aService({ ...fields })), put(aSlice(slice.endpoints))]).ports, [])
    table.apply([put(aService({ ...fields, annotations: { 'config.lightpath.cloud/http-num-retries': '7' } }))])
    assert.notEqual(stateOf(table), before)
    assert.equal(stateOf(table).external, before.external)
    table.apply([put(aService({ ...fields, loadBalancerSourceRanges: ['10.0.0.0/8'] }))])
    assert.deepEqual(stateOf(table).external?.sourceRanges, ['10.0.0.0/8'])
    assert.equal(stateOf(table).external?.endpoints, before.external?.endpoints)
  })
  test('opens the same node port in both families of a dual-stack Service', () => {
    const table = tableOf(aService({ ...fields, clusterIPs: ['10.96.0.10', 'fd00:96::a'] }))
    assert.equal(stateOf(table, 'whoami/whoami/http/IPv6').external?.nodePort, 30080)
  })
})

test('the Service ranges are those of all ServiceCIDRs that there are', () => {
  const table = new ServiceTable('node1')
  const tell = (name: string, ...cidrs: string[]) => table.apply([put({ kind: 'ServiceCIDR', name, cidrs })])
  tell('kubernetes', '10.96.0.0/12', 'fd00::/108')
  tell('more', '10.200.0.0/16')
  tell('kubernetes', '10.96.0.0/12')
  assert.deepEqual(table.serviceRanges, ['10.96.0.0/12', '10.200.0.0/16'])
  table.apply([{ type: 'remove', key: { kind: 'ServiceCIDR', namespace: '', name: 'more' } }])
  assert.deepEqual(table.serviceRanges, ['10.96.0.0/12'])
})

describe('session affinity', () => {
  test('has its time in the state where it is ClientIP, and keeps the port in the kernel', () => {
    const slice = aSlice([anEndpoint('10.244.1.2')])
    const { affinitySeconds, layer } = stateOf(tableOf(aService({ sessionAffinity: 'ClientIP' }), slice))
    assert.equal(affinitySeconds, 10_800)
    assert.equal(layer.wants, 'kernel')
    assert.equal(stateOf(tableOf(aService(), slice)).affinitySeconds, undefined)
  })
})
