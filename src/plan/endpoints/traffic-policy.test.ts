/** Each case of traffic-policy-cases.ts, and the rules as properties. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { EndpointTraits } from '../../services/objects/endpointslice.ts'
import type { TrafficPolicy } from '../../services/objects/service.ts'
import { anEndpoint, aPort, aService, aSlice } from '../../services/testing.ts'
import { chooseEndpoints, outsideOf } from '../testing.ts'
import { cases, inZoneA } from './traffic-policy-cases.ts'

const port = aPort()
const portOnNodes = aPort({ nodePort: 30080 })
const ip = (number: number) => `10.0.0.${number}`
const slices = (endpoints: readonly Partial<EndpointTraits>[]) => [
  aSlice(endpoints.map((fields, i) => anEndpoint(ip(i + 1), fields))),
]

describe('traffic policies', () => {
  for (const { title, node, internal, external, nodePort, endpoints, ...expected } of cases) {
    test(title, () => {
      const service = aService({
        internalTrafficPolicy: internal ?? 'Cluster',
        externalTrafficPolicy: external ?? 'Cluster',
      })
      const outside = outsideOf(service, nodePort ? portOnNodes : port, 'IPv4')
      const choice = chooseEndpoints(service, port, 'IPv4', slices(endpoints), node ?? inZoneA, outside)
      assert.deepEqual(
        {
          byVip: choice.endpoints.map(endpoint => endpoint.ip),
          vipDrops: choice.noLocalEndpoints,
          fromOutside: choice.external?.endpoints.map(endpoint => endpoint.ip),
          fromInside: choice.external?.clusterEndpoints.map(endpoint => endpoint.ip),
          outsideDrops: choice.external?.noLocalEndpoints,
        },
        {
          byVip: expected.byVip.map(ip),
          vipDrops: expected.vipDrops ?? false,
          fromOutside: expected.fromOutside?.map(ip),
          fromInside: expected.fromInside?.map(ip),
          outsideDrops: nodePort ? (expected.outsideDrops ?? false) : undefined,
        },
      )
    })
  }
})

const anyEndpoints = fc.array(
  fc.record({
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
    nodeName: fc.constantFrom('node1', 'node2', undefined),
    forZones: fc.option(fc.subarray(['zone-a', 'zone-b']), { nil: undefined }),
    forNodes: fc.option(fc.subarray(['node1', 'node2']), { nil: undefined }),
  }),
  { maxLength: 8 },
)
const anyPolicy = fc.constantFrom<TrafficPolicy>('Cluster', 'Local')

function chooseFor(endpoints: readonly Partial<EndpointTraits>[], internal: TrafficPolicy, external: TrafficPolicy) {
  const service = aService({ internalTrafficPolicy: internal, externalTrafficPolicy: external })
  const outside = outsideOf(service, portOnNodes, 'IPv4')
  const choice = chooseEndpoints(service, port, 'IPv4', slices(endpoints), inZoneA, outside)
  assert.ok(choice.external)
  return { ...choice, external: choice.external }
}

describe('for all endpoints and policies', () => {
  test('an external client under Local never leaves the node, nor reaches one that neither is ready nor drains', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPolicy, (endpoints, internal) => {
        for (const chosen of chooseFor(endpoints, internal, 'Local').external.endpoints) {
          const source = endpoints.find((_, i) => ip(i + 1) === chosen.ip)!
          assert.equal(source.nodeName, 'node1')
          assert.ok(source.ready || (source.serving && source.terminating))
        }
      }),
    )
  })
  test('the internal policy never changes external addresses, nor the external one the VIP', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPolicy, (endpoints, policy) => {
        const [a, b] = [chooseFor(endpoints, 'Cluster', policy), chooseFor(endpoints, 'Local', policy)]
        assert.deepEqual(a.external, b.external)
        const [c, d] = [chooseFor(endpoints, policy, 'Cluster'), chooseFor(endpoints, policy, 'Local')]
        assert.deepEqual([c.endpoints, c.noLocalEndpoints], [d.endpoints, d.noLocalEndpoints])
      }),
    )
  })
  test('traffic is dropped exactly where Local has none here and the cluster itself has some', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPolicy, anyPolicy, (endpoints, internal, policy) => {
        const { external } = chooseFor(endpoints, internal, policy)
        const none = external.endpoints.length === 0 && external.clusterEndpoints.length > 0
        assert.equal(external.noLocalEndpoints, policy === 'Local' && none)
      }),
    )
  })
})

describe('the external addresses of a port', () => {
  test('are those of its family, as are the ranges', () => {
    const service = aService({
      externalIPs: ['192.0.2.1', 'fd00::1'],
      loadBalancerIPs: ['192.0.2.2', 'fd00::2'],
      loadBalancerSourceRanges: ['10.0.0.0/8', 'fd00::/16'],
    })
    assert.deepEqual(outsideOf(service, port, 'IPv6'), {
      nodePort: undefined,
      externalIPs: ['fd00::1'],
      loadBalancerIPs: ['fd00::2'],
      sourceRanges: ['fd00::/16'],
      policy: 'Cluster',
    })
  })
  test('admit all of a family by a range of all addresses', () => {
    const loadBalancerSourceRanges = ['10.0.0.0/10', '0.0.0.0/0', 'fd00::/16']
    const service = aService({ loadBalancerIPs: ['192.0.2.2', 'fd00::2'], loadBalancerSourceRanges })
    assert.deepEqual(outsideOf(service, port, 'IPv4')?.sourceRanges, [])
    assert.deepEqual(outsideOf(service, port, 'IPv6')?.sourceRanges, ['fd00::/16'])
    const narrow = { ...service, loadBalancerSourceRanges: ['10.64.0.0/10'] }
    assert.deepEqual(outsideOf(narrow, port, 'IPv4')?.sourceRanges, ['10.64.0.0/10'])
  })
})
