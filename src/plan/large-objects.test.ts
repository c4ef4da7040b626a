/** Objects with lists as long as the API lets them be take time in proportion to their length. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ClusterFacts } from '../services/clusterfacts.ts'
import { parseObject } from '../services/parse/parse.ts'
import { readSettings } from '../services/settings/annotations.ts'
import { aNetworkPolicy, anEndpoint, aPod, aPort, aService, aSlice, put, remove } from '../services/testing.ts'
import { countSteps, growth } from '../testing/steps.ts'
import { EndpointChoice } from './endpoints/choice.ts'
import { planOf } from './testing.ts'

/** Linear work, with what sorting adds. */
const mostGrowth = 5.5

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

function rawService(spec: object, metadata: object = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'a', namespace: 'a', ...metadata },
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }], ...spec },
  }
}

function rawSlice(fields: object) {
  const metadata = { name: 'a-1', namespace: 'a', labels: { 'kubernetes.io/service-name': 'a' } }
  return { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata, addressType: 'IPv4', ...fields }
}

function rawPolicy(spec: object) {
  const metadata = { name: 'a', namespace: 'a' }
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec: { podSelector: {}, ...spec } }
}

const lists: Readonly<Record<string, (size: number) => unknown>> = {
  'ports of a Service': size =>
    rawService({ ports: numbers(size).map(i => ({ name: `http-${i}`, port: i + 1, nodePort: 20_000 + i })) }),
  'ports of an EndpointSlice': size =>
    rawSlice({ ports: numbers(size).map(i => ({ name: `http-${i}`, port: i + 1 })), endpoints: [] }),
  'endpoints of an EndpointSlice': size =>
    rawSlice({ ports: [], endpoints: numbers(size).map(i => ({ addresses: [`10.244.${i >> 8}.${i & 255}`] })) }),
  'external IPs': size => rawService({ externalIPs: numbers(size).map(i => `192.0.${i >> 8}.${i & 255}`) }),
  annotations: size =>
    rawService({}, { annotations: Object.fromEntries(numbers(size).map(i => [`config.lightpath.cloud/x-${i}`, 1])) }),
  labels: size => rawService({}, { labels: Object.fromEntries(numbers(size).map(i => [`x-${i}`, 'y'])) }),
  'peers of a NetworkPolicy': size =>
    rawPolicy({ ingress: numbers(size).map(i => ({ from: [{ podSelector: { matchLabels: { n: `${i}` } } }] })) }),
  'what a NetworkPolicy selects by': size =>
    rawPolicy({
      podSelector: { matchExpressions: numbers(size).map(i => ({ key: `k${i}`, operator: 'In', values: ['x'] })) },
    }),
  'addresses of a Node': size => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'a' },
    status: { addresses: numbers(size).map(i => ({ type: 'InternalIP', address: `10.0.${i >> 8}.${i & 255}` })) },
  }),
  loadBalancerSourceRanges: size =>
    rawService({ loadBalancerSourceRanges: numbers(size).map(i => `10.${i >> 8}.${i & 255}.0/24`) }),
}

describe('Parsing is linear in', () => {
  for (const [what, rawOf] of Object.entries(lists)) {
    test(what, async () => {
      const raws = new Map([500, 2000].map(size => [size, rawOf(size)]))
      const ratio = await growth(size => parseObject(raws.get(size)), 500)
      assert.ok(ratio < mostGrowth, `four times as long a list took ${ratio} times the work`)
    })
  }
})

test('Of 9,000 unknown annotations ten are reported, and how many more there are', async () => {
  const annotated = (size: number) => {
    const annotations = Object.fromEntries(numbers(size).map(i => [`config.lightpath.cloud/http-no-setting-${i}`, 'x']))
    return aService({ annotations, ports: numbers(size).map(i => aPort({ name: `http-${i}`, port: i + 1 })) })
  }
  const { problems } = readSettings(annotated(9000))
  assert.equal(problems.length, 11)
  assert.match(problems[10]!.reason, /^8990 more such problems/)
  const ratio = await growth(size => readSettings(annotated(size)), 500)
  assert.ok(ratio < mostGrowth, `four times as many took ${ratio} times the work`)
})

describe('A Service with many ports and endpoints', () => {
  const numbered = (ports: number) => numbers(ports).map(i => aPort({ name: `http-${i}`, port: i + 1 }))
  const sliceWith = (endpoints: number, ports: number, isFlapping = false) =>
    aSlice(
      numbers(endpoints).map(i => anEndpoint(`10.244.${i >> 8}.${i & 255}`, { ready: !(isFlapping && i === 3) })),
      { ports: numbers(ports).map(i => ({ name: `http-${i}`, protocol: 'TCP', port: 8000 + i })) },
    )

  test('has its endpoints chosen once for all ports', async () => {
    const work = (ports: number) => {
      const choice = new EndpointChoice(aService({ ports: numbered(ports) }), [sliceWith(500, ports)], {
        nodeName: 'node1',
        zone: undefined,
      })
      for (const port of numbered(ports)) choice.of(port, 'IPv4')
    }
    const [one, twenty] = [await countSteps(() => work(1)), await countSteps(() => work(20))]
    assert.ok(twenty < 12 * one, `twenty ports took ${twenty / one} times the work of one`)
  })

  test('keeps the endpoints that are as they were, so that a change writes what it touches', () => {
    const plan = planOf(aService({ ports: numbered(3) }), sliceWith(10, 3))
    const before = [...plan.states()].map(({ endpoints }) => endpoints)
    plan.tell([put(sliceWith(10, 3, true))])
    const after = [...plan.states()].map(({ endpoints }) => endpoints)
    for (const [index, list] of after.entries()) {
      assert.equal(list.length, 9)
      assert.ok(list.every(endpoint => before[index]!.includes(endpoint)))
    }
  })

  test('has each port evaluated once when an endpoint of all changes', async () => {
    const size = 500
    const plan = planOf(aService({ ports: numbered(size) }), sliceWith(5, size))
    plan.tell([put(sliceWith(5, size, true))])
    const steps = await countSteps(() => plan.tell([put(sliceWith(5, size))]))
    assert.ok(steps / size < 115, `${steps / size} steps for each port`)
  })

  test('takes time in proportion to its ports, and to its slices', async () => {
    const ratios = {
      ports: await growth(size => planOf(aService({ ports: numbered(size) }), sliceWith(5, size)), 250),
      slices: await growth(
        size => planOf(aService(), ...numbers(size).map(i => aSlice([anEndpoint('10.244.0.1')], { name: `s${i}` }))),
        250,
      ),
    }
    for (const [what, ratio] of Object.entries(ratios)) {
      assert.ok(ratio < mostGrowth, `four times as many ${what} took ${ratio} times the work`)
    }
  })
})

test('Policies of a namespace take time in proportion to their number, as they come and as they go', async () => {
  const pods = numbers(20).map(i => put(aPod(`pod-${i}`, `10.244.0.${i}`)))
  const policies = (size: number) => numbers(size).map(i => aNetworkPolicy({ name: `n${10_000 - i}` }))
  const work = (size: number) => {
    const facts = new ClusterFacts({ tellsPods: true, podRanges: [] })
    facts.apply(pods)
    facts.apply(policies(size).map(put))
    facts.apply(policies(size).map(remove))
  }
  const ratio = await growth(work, 100)
  assert.ok(ratio < mostGrowth, `four times as many took ${ratio} times the work`)
})
