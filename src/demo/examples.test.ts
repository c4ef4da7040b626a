import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hostsOf, podsOf, readManifests } from './examples.ts'

const manifests = readManifests(fileURLToPath(new URL('../../examples', import.meta.url)))
const named = (kind: string, name: string) => manifests.find(m => m.kind === kind && m.metadata.name === name)!

test('the examples show every kind of Service that a user meets first', () => {
  const services = manifests.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
  assert.deepEqual(services.sort(), ['dns', 'docs', 'echo', 'echo-peers', 'pending', 'shop', 'whoami'])
})

test("the nodes of the examples have the lab's addresses", () => {
  for (const [name, number] of [
    ['node1', 1],
    ['node2', 2],
  ] as const) {
    const addresses = named('Node', name).status!.addresses!.map(({ address }) => address)
    assert.deepEqual(addresses, [name, `172.30.0.${10 + number}`, `fd00:30::${10 + number}`])
  }
})

test("every endpoint of the examples is at an address of its node's pod network, the same last part in both families", () => {
  const pods = podsOf(manifests)
  assert.equal(pods.length, 12)
  for (const { name, node, addresses } of pods) {
    const number = node.replace('node', '')
    const host = addresses[0]!.split('.').at(-1)
    const expected = [`10.244.${number}.${host}`, `fd00:244:${number}::${host}`]
    assert.deepEqual(addresses, expected.slice(0, addresses.length), name)
  }
})

test('a pod listens on what all its EndpointSlices say, each port once', () => {
  const [dns] = podsOf(manifests)
  assert.deepEqual(dns, {
    name: 'dns-0',
    node: 'node1',
    addresses: ['10.244.1.31'],
    http: [],
    tcp: [1053],
    udp: [1053],
  })
  const echo = podsOf(manifests).find(pod => pod.name === 'echo-0')!
  assert.deepEqual(echo, {
    name: 'echo-0',
    node: 'node1',
    addresses: ['10.244.1.21', 'fd00:244:1::21'],
    http: [],
    tcp: [7],
    udp: [],
  })
  const whoami = podsOf(manifests).find(pod => pod.name === 'whoami-2c')!
  assert.deepEqual(whoami.http, [8080])
})

test('every VIP of the examples is of the Service ranges, and no two Services have the same', () => {
  const vips = manifests.flatMap(({ spec }) => (spec?.clusterIPs ?? []).filter(ip => ip !== 'None'))
  for (const vip of vips) assert.match(vip, /^(10\.96\.0\.\d+|fd00:96::\d+)$/)
  assert.equal(new Set(vips).size, vips.length)
})

test('the hosts entries name each VIP by its Service and namespace, and Services without VIP not at all', () => {
  const hosts = hostsOf(manifests)
  assert.match(hosts, /^10\.96\.0\.10 whoami\.whoami\.svc whoami\.whoami whoami\.whoami\.svc\.cluster\.local$/m)
  assert.match(hosts, /^fd00:96::10 whoami\.whoami\.svc /m)
  assert.doesNotMatch(hosts, /echo-peers|docs/)
})
