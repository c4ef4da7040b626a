import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster_LbPolicy } from '../../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { typeUrls } from '../../../src/envoy/resource.ts'
import { until } from './lab.ts'
import { clusterResource, endpointsResource, listenerResource, routeResource } from './resources.ts'
import { hasAll, indexOf, promptSeconds, serviceResources, withEnvoys } from './services.ts'

test('a new Envoy gets cluster, endpoints and listener in that order, and says who it is', async () => {
  await withEnvoys(1, async (lab, [envoy]) => {
    const resources = serviceResources('a/b/http', '1')
    lab.store.update({ put: resources })
    await until('all acknowledged', () => hasAll(lab, resources), promptSeconds)
    const order = resources.map(({ typeUrl, name }) => indexOf(lab.acknowledged, typeUrl, name))
    assert(order[1]! < order[2]! && order[0]! < order[2]!)
    await until('settled', () => lab.settled.length > 0)
    const [client] = lab.clients
    assert.equal(client?.envoyVersion, '1.40.0')
    assert.equal(client.nodeId, 'node1')
    assert(client.extensions.includes('envoy.filters.network.tcp_proxy'))
    assert.match(await envoy!.get('/clusters'), /a\/b\/http::127\.0\.0\.1:8080::/)
    assert.match(await envoy!.get('/listeners'), /10\.0\.0\.1:80/)
  })
})

test('an Envoy that connects while there is nothing to tell starts at once', async () => {
  await withEnvoys(1, async (_, [envoy]) => {
    await until('ready', async () => (await envoy!.get('/ready')).startsWith('LIVE'), promptSeconds)
  })
})

test('a changed cluster is in effect at once and holds up no other change', async () => {
  await withEnvoys(1, async lab => {
    const before = [...serviceResources('a', '1'), ...serviceResources('b', '1', '10.0.0.2')]
    lab.store.update({ put: before })
    await until('first delivery', () => hasAll(lab, before), promptSeconds)
    const changed = [
      clusterResource('a', '2', { lbPolicy: Cluster_LbPolicy.LEAST_REQUEST }),
      clusterResource('b', '2', { lbPolicy: Cluster_LbPolicy.RANDOM }),
    ]
    const moved = endpointsResource('b', '2', [9090])
    lab.store.update({ put: [changed[0]!] })
    lab.store.update({ put: [changed[1]!, moved] })
    await until('changes acknowledged', () => hasAll(lab, [...changed, moved]), promptSeconds)
  })
})

test('a cluster whose endpoints do not exist does not wait for them', async () => {
  await withEnvoys(1, async lab => {
    const cluster = clusterResource('lonely', '1')
    lab.store.update({ put: [cluster] })
    await until('acknowledged', () => lab.has(cluster), promptSeconds)
  })
})

test('a Service is removed from the listener down, and nothing of it stays in Envoy', async () => {
  await withEnvoys(1, async (lab, [envoy]) => {
    const resources = serviceResources('a', '1')
    lab.store.update({ put: resources })
    await until('delivered', () => hasAll(lab, resources), promptSeconds)
    lab.store.update({ remove: resources })
    await until('gone', () => lab.gone.length === resources.length, promptSeconds)
    const cluster = indexOf(lab.gone, typeUrls.cluster, 'a')
    const listener = indexOf(lab.gone, typeUrls.listener, '10.0.0.1:80')
    assert(listener < cluster)
    assert.doesNotMatch(await envoy!.get('/clusters'), /^a::/m)
    assert.equal((await envoy!.get('/listeners')).trim(), '')
  })
})

test('routes follow their listener, change by themselves, and a refused one leaves what was there', async () => {
  await withEnvoys(1, async lab => {
    const [cluster, endpoints] = serviceResources('a', '1')
    const listener = listenerResource('10.0.0.1:80', '1', 'a', { route: 'a' })
    const route = routeResource('a', '1', 'a')
    lab.store.update({ put: [cluster!, endpoints!, listener, route] })
    await until('delivered', () => hasAll(lab, [cluster!, endpoints!, listener, route]), promptSeconds)
    const changed = routeResource('a', '2', 'a', ['one.example'])
    lab.store.update({ put: [changed] })
    await until('changed', () => lab.has(changed), promptSeconds)
    lab.store.update({ put: [routeResource('a', '3', 'a', ['twice.example', 'twice.example'])] })
    await until('refused', () => lab.nacks.length === 1, promptSeconds)
    assert.equal(lab.nacks[0]!.ref.typeUrl, typeUrls.route)
    assert(lab.has(changed))
  })
})

test('two Envoys each get everything, and one that ends or refuses leaves the other alone', async () => {
  await withEnvoys(2, async (lab, envoys) => {
    const resources = serviceResources('a', '1')
    lab.store.update({ put: resources })
    await until('both connected', () => lab.clients.length === 2)
    const idOf = (node: string) => lab.clients.find(client => client.nodeId === node)!.id
    for (const node of ['node1', 'node2']) await until(node, () => hasAll(lab, resources, idOf(node)), promptSeconds)
    await envoys[0]!.stop()
    await until('node1 is gone', () => lab.disconnected.has(idOf('node1')))
    const changed = endpointsResource('a', '2', [9090])
    lab.store.update({ put: [changed] })
    await until('node2 goes on', () => lab.has(changed, idOf('node2')), promptSeconds)
    assert.equal(lab.server.acknowledgedVersion(idOf('node1'), changed), undefined)
  })
})
