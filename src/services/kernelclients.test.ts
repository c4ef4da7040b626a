import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KernelClients } from './kernelclients.ts'
import { type LabelRequirement, selects } from './networkpolicy.ts'
import type { Change } from './objects.ts'
import { parseObject } from './parse.ts'

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

function pod(name: string, ip: string, { labels, node = 'node1', namespace = 'shop' }: PodOptions = {}): object {
  const spec = { nodeName: node }
  const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: 'FD00::1' }] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name, labels }, spec, status }
}

function policy(name: string, spec: object, namespace = 'shop'): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name }, spec }
}

const forWeb = policy('web', { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Egress'] })
const forAll = policy('all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })

function clientsOf(...raws: readonly object[]): readonly string[] {
  const clients = new KernelClients('node1')
  clients.apply(raws.map(put))
  return clients.clients().map(({ pod, reason }) => `${pod}: ${reason}`)
}

test('a pod that a policy with egress selects stays in the kernel layer, with all its addresses', () => {
  const clients = new KernelClients('node1')
  clients.apply([put(pod('web', '10.1.0.1', { labels: { app: 'web' } })), put(pod('db', '10.1.0.2')), put(forWeb)])
  assert.deepEqual(clients.clients(), [
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

test('policies that restrict only ingress are not held, and without policyTypes egress rules tell', () => {
  const ingress = policy('in', { podSelector: {}, policyTypes: ['Ingress'], egress: [{}] })
  const silent = policy('silent', { podSelector: {} })
  for (const raw of [ingress, silent]) assert.match(parseObject(raw).ignored!, /does not restrict egress/)
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
  const clients = new KernelClients('node1')
  const names = () => clients.clients().map(({ pod }) => pod)
  clients.apply([put(forWeb), put(pod('a', '10.1.0.1'))])
  assert.deepEqual(names(), [])
  clients.apply([put(pod('a', '10.1.0.1', { labels: { app: 'web' } }))])
  assert.deepEqual(names(), ['shop/a'])
  clients.apply([{ type: 'remove', key: { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' } }])
  assert.deepEqual(names(), [])
  clients.apply([put(forAll)])
  clients.apply([{ type: 'remove', key: { kind: 'Pod', namespace: 'shop', name: 'a' } }])
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
  const clients = new KernelClients('node1')
  clients.apply([{ type: 'put', object: object! }, put(pod('a', '10.1.0.1'))])
  assert.equal(clients.clients().length, 1)
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
