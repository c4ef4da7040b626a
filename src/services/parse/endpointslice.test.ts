import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointSlice } from '../objects/endpointslice.ts'
import { parseObject } from './parse.ts'
import { type Case, endpoints, readEndpoint, slice, testCases } from './testing.ts'

const slices: readonly Case[] = [
  {
    title: 'an EndpointSlice keeps addresses, conditions, place and hints',
    raw: slice(
      {
        endpoints: [
          {
            addresses: ['10.1.0.1', '10.1.0.9'],
            conditions: { ready: true },
            nodeName: 'node1',
            zone: 'a',
            targetRef: { kind: 'Pod', name: 'cart-x' },
            hints: { forZones: [{ name: 'a' }], forNodes: [{ name: 'node1' }] },
          },
        ],
      },
      {
        labels: { 'kubernetes.io/service-name': 'cart' },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': '2024-05-01T12:00:00.5Z' },
      },
    ),
    object: {
      kind: 'EndpointSlice',
      namespace: 'shop',
      name: 'cart-1',
      service: 'cart',
      family: 'IPv4',
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      endpoints: [
        readEndpoint('10.1.0.1', { nodeName: 'node1', zone: 'a', forZones: ['a'], forNodes: ['node1'], isPod: true }),
      ],
      triggered: Date.UTC(2024, 4, 1, 12, 0, 0, 500),
    },
  },
  {
    title: 'conditions that are not set have the defaults of the API: ready, serving, not terminating',
    raw: endpoints(
      { addresses: ['10.1.0.1'] },
      { addresses: ['10.1.0.2'], conditions: { ready: null } },
      { addresses: ['10.1.0.3'], conditions: { ready: false } },
      { addresses: ['10.1.0.4'], conditions: { ready: false, serving: true, terminating: true } },
    ),
    object: {
      endpoints: [
        readEndpoint('10.1.0.1'),
        readEndpoint('10.1.0.2'),
        readEndpoint('10.1.0.3', { ready: false }),
        readEndpoint('10.1.0.4', { ready: false, terminating: true }),
      ],
    },
  },
  {
    title: 'endpoints of the wrong family, without address or with a special one are left out, and the others stay',
    raw: endpoints(
      { addresses: ['fd00::1'] },
      { addresses: [] },
      {},
      { addresses: ['127.0.0.1'] },
      { addresses: ['10.1.0.1'] },
    ),
    object: { endpoints: [readEndpoint('10.1.0.1')] },
    problems: [
      /LP221 EndpointSlice shop\/cart-1: endpoints\[0\].addresses\[0\] fd00::1 is not of the slice's addressType IPv4/,
      /LP221 .*endpoints\[1\].addresses\[0\] is missing/,
      /LP221 .*endpoints\[2\]/,
      /LP221 .*endpoints\[3\].* 127.0.0.1 is a loopback address/,
    ],
  },
  {
    title: 'an endpoint whose readiness is neither true nor false gets no traffic',
    raw: endpoints({ addresses: ['10.1.0.1'], conditions: { ready: 'false' } }),
    object: { endpoints: [] },
    problems: [/LP221 .*endpoints\[0\].conditions.ready "false" is neither true nor false; this endpoint is left out/],
  },
  {
    title: 'old spellings of endpoints are read as by kube-proxy',
    raw: endpoints({ addresses: ['::ffff:10.244.1.11'] }, { addresses: ['10.244.001.012'] }),
    object: { endpoints: ['10.244.1.11', '10.244.1.12'].map(ip => readEndpoint(ip)) },
  },
  {
    title: 'IPv6 addresses are written in one way',
    raw: slice({ addressType: 'IPv6', endpoints: [{ addresses: ['FD00:0:0::A'] }] }),
    object: { family: 'IPv6', endpoints: [readEndpoint('fd00::a')] },
  },
  {
    title: 'slice ports with bad numbers, protocols or names are left out',
    raw: slice({
      ports: [{ name: 'a', port: 0 }, { name: 'b', port: 1, protocol: 'ICMP' }, { port: 80 }, { name: '', port: 81 }],
      endpoints: [],
    }),
    object: { ports: [{ name: '', protocol: 'TCP', port: 80 }] },
    problems: [
      /LP221 .*ports\[0\].port 0/,
      /LP221 .*ports\[1\].protocol "ICMP"/,
      /ports\[3\]: it is the second port without a name/,
    ],
  },
  {
    title: 'a slice that means all ports, as no proxy does, has none',
    raw: slice({ ports: [{ name: 'all', port: null }], endpoints: null }),
    object: { ports: [], endpoints: [] },
  },
  {
    title: 'a slice of no Service is ignored and no problem',
    raw: slice({}, { labels: { app: 'cart' } }),
    ignored: /kubernetes.io\/service-name/,
  },
  {
    title: 'a slice with the label service.kubernetes.io/headless is ignored, as by kube-proxy, and no problem',
    raw: slice({}, { labels: { 'kubernetes.io/service-name': 'cart', 'service.kubernetes.io/headless': '' } }),
    ignored: /service.kubernetes.io\/headless/,
  },
  { title: 'a slice of names is ignored and no problem', raw: slice({ addressType: 'FQDN' }), ignored: /FQDN/ },
  {
    title: 'a slice of an unknown address type is left out',
    raw: slice({ addressType: 'ipv4' }),
    problems: [/LP221 EndpointSlice shop\/cart-1: addressType "ipv4" is no family; the slice is left out/],
  },
]

testCases(slices)

test('endpoints of any slices with equal traits share these, as 100,000 have those of a few nodes', () => {
  const there = (...addresses: readonly string[]) => {
    const raw = endpoints(...addresses.map(address => ({ addresses: [address], nodeName: 'node1' })))
    return (parseObject(raw).object as EndpointSlice).endpoints.map(({ traits }) => traits)
  }
  const all = [...there('10.1.0.1', '10.1.0.2'), ...there('10.1.0.3')]
  assert.equal(new Set(all).size, 1)
})
