import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointSlice } from '../objects/endpointslice.ts'
import type { Service } from '../objects/service.ts'
import { listItems, parseObject } from './parse.ts'
import { type Case, endpoints, service, slice, testCases } from './testing.ts'

const others: readonly Case[] = [
  {
    title: 'a Node has its ExternalIP as its address in a family where it has no InternalIP',
    raw: {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node1' },
      status: {
        addresses: [
          { type: 'ExternalIP', address: '2001:db8::1' },
          { type: 'ExternalIP', address: '198.51.100.1' },
          { type: 'InternalIP', address: '192.0.2.1' },
        ],
      },
    },
    object: { addresses: ['192.0.2.1', '2001:db8::1'] },
  },
  {
    title: 'a Node keeps its zone, the labels of Lightpath, its internal addresses and its ranges of pods',
    raw: {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: 'node1.example',
        labels: { 'topology.kubernetes.io/zone': 'a', 'lightpath.cloud/x': 'y', 'kubernetes.io/os': 'linux' },
      },
      spec: { podCIDRs: ['10.244.1.7/24', 'fd00:244:1::/64', 'x'] },
      status: {
        addresses: [
          { type: 'Hostname', address: 'node1' },
          { type: 'ExternalIP', address: '198.51.100.1' },
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: 'FD00::1' },
          { type: 'InternalIP', address: 'node1' },
        ],
      },
    },
    object: {
      kind: 'Node',
      name: 'node1.example',
      labels: { 'topology.kubernetes.io/zone': 'a', 'lightpath.cloud/x': 'y' },
      addresses: ['192.0.2.1', 'fd00::1'],
      podCidrs: ['10.244.1.0/24', 'fd00:244:1::/64'],
      leaving: false,
    },
    problems: [
      /LP102 Node node1.example: status.addresses: InternalIP "node1" is no IP address/,
      /podCIDRs: "x" is no CIDR/,
    ],
  },
  ...[
    ['is being deleted', { metadata: { name: 'node1', deletionTimestamp: '2026-01-01T00:00:00Z' } }],
    [
      'the cluster autoscaler is to delete',
      { spec: { taints: [{ key: 'a' }, { key: 'ToBeDeletedByClusterAutoscaler' }] } },
    ],
  ].map(([what, fields]) => ({
    title: `a Node that ${what} is leaving`,
    raw: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' }, ...(fields as object) },
    object: { kind: 'Node', name: 'node1', labels: {}, addresses: [], podCidrs: [], leaving: true } as const,
  })),
  {
    title: 'a ServiceCIDR is its ranges, canonical; what is no range is left out',
    raw: {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.96.1.2/12', 'FD00:0::/108', '10.0.0.0'] },
    },
    object: { kind: 'ServiceCIDR', name: 'kubernetes', cidrs: ['10.96.0.0/12', 'fd00::/108'] },
    problems: [/LP102 ServiceCIDR kubernetes: spec.cidrs: "10.0.0.0" is no range of addresses/],
  },
  ...[
    ['True', 'False', { gated: 'containers ready', isUnreachable: true }],
    ['False', 'True', { gated: 'containers not ready', isUnreachable: undefined }],
  ].map(([containersReady, reachable, object]) => ({
    title: `a Pod that is ready while it can be reached says whether it can be (${reachable}), and whether it would be ready`,
    raw: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'shop', name: 'cart-1' },
      spec: { nodeName: 'node1', readinessGates: [{ conditionType: 'lightpath.cloud/Reachable' }] },
      status: {
        podIP: '10.244.1.7',
        conditions: [
          { type: 'ContainersReady', status: containersReady },
          { type: 'lightpath.cloud/Reachable', status: reachable },
        ],
      },
    },
    object: object as Readonly<Record<string, unknown>>,
  })),
  {
    title: 'a Namespace keeps the label that opts it out, and is in no namespace',
    raw: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop', namespace: 5, labels: { lightpath: 'disabled', team: 'x' } },
    },
    object: { kind: 'Namespace', name: 'shop', labels: { lightpath: 'disabled' } },
  },
  {
    title: 'other kinds are ignored and no problem',
    raw: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: {} },
    ignored: /"apps\/v1 Deployment" is not used/,
  },
  {
    title: 'what is inherited from Object is no kind',
    raw: { apiVersion: '__proto__', kind: '' },
    ignored: /not used/,
  },
  { title: 'a text is no object', raw: 'kind', problems: [/LP102 a\.yaml:3: "kind" is no Kubernetes object/] },
  { title: 'an object without a kind is told', raw: {}, problems: [/LP102 a\.yaml:3: kind is missing/] },
  {
    title: 'an object without an apiVersion is told',
    raw: { kind: 'Service' },
    problems: [/LP102 a\.yaml:3: apiVersion is missing; it is left out; write apiVersion and kind/],
  },
]

testCases(others)

test('a slice of 5,000 endpoints is read whole', () => {
  const many = Array.from({ length: 5000 }, (_, i) => ({ addresses: [`10.1.${i >> 8}.${i & 255}`] }))
  const parsed = parseObject(endpoints(...many)).object as EndpointSlice
  assert.equal(parsed.endpoints.length, 5000)
})

test('thousands of broken endpoints are reported with a few problems and their number', () => {
  const { problems } = parseObject(endpoints(...Array.from({ length: 5000 }, () => ({ addresses: ['x'] }))))
  assert.equal(problems.length, 11)
  assert.match(problems[10]!.reason, /4990 more such problems, the last: endpoints\[4999\]/)
})

test('slices and Services with equal ports share one list, and endpoints share names of nodes and zones', () => {
  const parse = (name: string) => parseObject(slice({ endpoints: [] }, { name })).object as EndpointSlice | undefined
  assert.equal(
    parse('a')!.ports,
    parseObject(slice({})).object && (parseObject(slice({})).object as EndpointSlice).ports,
  )
  const one = parseObject(service({ ports: [{ port: 80 }] })).object as Service
  const two = parseObject(service({ ports: [{ port: 80 }] }, { name: 'other' })).object as Service
  assert.equal(one.ports, two.ports)
})

test('the items of Lists, typed lists and lists in lists are objects of their own', () => {
  const item = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' } }
  assert.deepEqual([...listItems(item)], [item])
  assert.deepEqual([...listItems({ apiVersion: 'v1', kind: 'List', items: [item, 1, item] })], [item, 1, item])
  const typed = { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata: { name: 'a' } }] }
  assert.deepEqual([...listItems({ kind: 'List', items: [typed] })], [item])
  assert.deepEqual([...listItems(null)], [null])
})

test('no JSON value makes parsing throw, alone, in a list, or in any place of an object', () => {
  // An object that cannot be made a text is JSON, too.
  const anything = fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.constant({ toString: 1, valueOf: null }))
  const fields = fc.dictionary(fc.constantFrom('name', 'namespace', 'labels', 'annotations', 'port', 'ports'), anything)
  const raw = fc.record(
    {
      apiVersion: fc.constantFrom('v1', 'discovery.k8s.io/v1', 'networking.k8s.io/v1', 'crd.projectcalico.org/v1'),
      kind: fc.constantFrom('Service', 'EndpointSlice', 'Node', 'Namespace', 'NetworkPolicy', 'List', 'ServiceList'),
      metadata: fc.oneof(anything, fields, fc.constant({ name: 'a', labels: { 'kubernetes.io/service-name': 'a' } })),
      addressType: fc.oneof(anything, fc.constantFrom('IPv4', 'IPv6')),
      spec: fc.oneof(
        anything,
        fc.record({ clusterIPs: fc.array(anything), ports: fc.array(fc.oneof(anything, fields)), type: anything }),
        fc.record({ policyTypes: fc.array(anything), types: fc.array(anything), podSelector: anything }),
      ),
      status: fc.record({ addresses: fc.array(fc.record({ type: fc.constant('InternalIP'), address: anything })) }),
      ports: fc.oneof(anything, fc.array(fields)),
      items: fc.oneof(anything, fc.array(anything)),
      endpoints: fc.oneof(
        anything,
        fc.array(
          fc.record({
            addresses: fc.array(fc.oneof(anything, fc.ipV4(), fc.ipV6())),
            conditions: anything,
            hints: anything,
          }),
        ),
      ),
    },
    { requiredKeys: ['apiVersion', 'kind'] },
  )
  fc.assert(
    fc.property(fc.oneof(anything, raw), value => {
      for (const item of listItems(value)) {
        const { object, problems, ignored } = parseObject(item)
        assert.ok(object || problems.length > 0 || ignored !== undefined, 'nothing vanishes without a word')
      }
    }),
    { numRuns: 2000 },
  )
})

test('a value of any depth is reported like any other', () => {
  let deep: unknown = []
  for (let i = 0; i < 100_000; i++) deep = { kind: 'List', items: [deep] }
  assert.equal([...listItems(deep)].length, 1)
  let object: unknown = {}
  for (let i = 0; i < 100_000; i++) object = { x: object }
  assert.equal(parseObject(service({ ports: [{ port: object }], clusterIP: object })).problems.length, 2)
})

test('a parsed object says the same when it is parsed again after going through JSON', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ name: fc.constantFrom('', 'a', 'b'), port: fc.integer() })), ports => {
      const first = parseObject(service({ ports })).object as Service
      const again = parseObject(service({ ports: first.ports }))
      assert.deepEqual((again.object as Service).ports, first.ports)
      assert.deepEqual(again.problems, [])
    }),
  )
})
