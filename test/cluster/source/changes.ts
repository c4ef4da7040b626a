/** What exists is told, and what changes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointSlice } from '../../../src/services/objects/endpointslice.ts'
import type { Service } from '../../../src/services/objects/service.ts'
import { until } from '../../../src/sources/testing.ts'
import { agrees, follow, options, server, service, services, slice, slices } from './lab.ts'

test('what exists is told, then that it is all, then each change', options, async t => {
  await server.must('POST', services, service('first'))
  await server.must('POST', slices, slice('first', '10.1.0.1', '10.1.0.2'))
  for (const name of ['node1', 'node2']) {
    const metadata = { name, labels: { 'topology.kubernetes.io/zone': 'a' } }
    await server.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata })
  }
  const followed = await follow(t)
  const { listener, shows } = followed
  const first = listener.objects.get('Service default/first') as Service
  assert.deepEqual(first.annotations, { 'config.lightpath.cloud/http-num-retries': '1' })
  assert.equal(first.clusterIPs.length, 1)
  const endpoints = (listener.objects.get('EndpointSlice default/first') as EndpointSlice).endpoints
  assert.deepEqual(
    endpoints.map(endpoint => endpoint.ip),
    ['10.1.0.1', '10.1.0.2'],
  )
  assert.ok(listener.objects.has('Namespace default'))
  assert.ok(listener.objects.has('Node node1'))
  assert.ok(!listener.objects.has('Node node2'), 'only the own node is watched')

  await server.must('PATCH', `${services}/first`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await shows('first', 81)
  await server.must('POST', services, service('second'))
  await shows('second', 80)
  await server.must('DELETE', `${services}/second`)
  await shows('second', undefined)
  await agrees(followed)
})

test('policies are told, and the pods of the own node and of the namespaces that are needed', options, async t => {
  const policies = '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies'
  const policy = (name: string, policyTypes: readonly string[]) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes },
  })
  await server.must('POST', policies, policy('out', ['Egress']))
  await server.must('POST', policies, policy('in', ['Ingress']))
  await server.must('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } })
  for (const node of ['node1', 'node2']) {
    const metadata = { name: `on-${node}`, labels: { app: 'web' } }
    const spec = { nodeName: node, containers: [{ name: 'web', image: 'web' }] }
    await server.must('POST', '/api/v1/namespaces/default/pods', { apiVersion: 'v1', kind: 'Pod', metadata, spec })
    const status = { phase: 'Running', podIP: '10.1.0.7', podIPs: [{ ip: '10.1.0.7' }] }
    await server.must('PATCH', `/api/v1/namespaces/default/pods/on-${node}/status`, { status })
  }
  const { source, listener } = await follow(t)
  const told = (kind: string) => [...listener.objects.values()].filter(object => object.kind === kind)
  const pods = () => told('Pod').map(({ name }) => name)
  const podSelector = { matchLabels: { app: 'web' }, matchExpressions: [] }
  const inDefault = { kind: 'NetworkPolicy', namespace: 'default', podSelector }
  assert.deepEqual(
    told('NetworkPolicy').sort((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { ...inDefault, name: 'in', restricts: ['ingress'] },
      { ...inDefault, name: 'out', restricts: ['egress'] },
    ],
  )
  assert.deepEqual(told('Pod'), [
    {
      kind: 'Pod',
      namespace: 'default',
      name: 'on-node1',
      // The API server adds the zone of the node.
      labels: { app: 'web', 'topology.kubernetes.io/zone': 'a' },
      nodeName: 'node1',
      addresses: ['10.1.0.7'],
    },
  ])
  const shows = (what: string, ...names: readonly string[]) =>
    until(
      () => pods().sort().join() === names.join(),
      () => `${what}: ${pods()}`,
    )
  source.needPods!(new Set(['default']))
  await shows('one namespace', 'on-node1', 'on-node2')
  source.needPods!(new Set())
  await shows('none', 'on-node1')
  source.needPods!(new Set(Array.from({ length: 20 }, (_, index) => `n${index}`)))
  await shows('so many that all are watched', 'on-node1', 'on-node2')
  await server.must('DELETE', '/api/v1/namespaces/default/pods/on-node1?gracePeriodSeconds=0')
  await shows('one is gone', 'on-node2')
  assert.deepEqual(listener.phantoms, [])
})

test('a change that touches nothing that is used is no change', options, async t => {
  await server.must('POST', services, service('status'))
  const { listener, shows } = await follow(t)
  listener.history.length = 0
  await server.must('PATCH', `${services}/status`, { metadata: { annotations: { unused: 'y' }, labels: { app: 'z' } } })
  await server.must('PATCH', `${services}/status`, { spec: { ports: [{ name: 'http', port: 82 }] } })
  await shows('status', 82)
  assert.deepEqual(listener.history, ['put Service default/status'])
})

test('a slice that loses its Service is removed', options, async t => {
  await server.must('POST', slices, slice('lost', '10.1.0.1'))
  const { listener } = await follow(t)
  await server.must('PATCH', `${slices}/lost`, { metadata: { labels: { 'kubernetes.io/service-name': null } } })
  await until(
    () => !listener.objects.has('EndpointSlice default/lost'),
    () => 'still there',
  )
})
