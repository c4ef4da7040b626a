import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster_LbPolicy } from '../../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { typeUrls } from '../../../src/envoy/resource.ts'
import { until } from './lab.ts'
import { clusterResource, endpointsResource } from './resources.ts'
import { hasAll, indexOf, promptSeconds, serviceResources, withEnvoys } from './services.ts'

test('an Envoy that comes back to the same store is sent nothing, and everything counts as acknowledged', async () => {
  await withEnvoys(1, async (lab, [envoy]) => {
    const resources = ['a', 'b', 'c'].flatMap((name, n) => serviceResources(name, '1', `10.0.0.${n}`))
    // Delivered beside something that Envoy refuses: it must remember those, too.
    const nacked = clusterResource('z', '1', { lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED })
    lab.store.update({ put: [...resources, nacked] })
    await until('delivered', () => hasAll(lab, resources) && lab.nacks.length === 1, promptSeconds)
    lab.store.update({ remove: [nacked] })
    await lab.stop()
    assert.match(await envoy!.get('/clusters'), /^b::127\.0\.0\.1:8080::/m)
    assert.match(await envoy!.get('/listeners'), /10\.0\.0\.1:80/)
    lab.settled.length = 0
    await lab.start()
    await until('settled', () => lab.settled.length > 0)
    assert(hasAll(lab, resources))
    assert.equal(lab.resourcesSent(), 0)
  })
})

test('what was removed or changed while the server was away is removed from the listener down, and changed', async () => {
  await withEnvoys(1, async (lab, [envoy]) => {
    const [kept, removed] = [serviceResources('kept', '1'), serviceResources('removed', '1', '10.0.0.2')]
    lab.store.update({ put: [...kept, ...removed] })
    await until('delivered', () => hasAll(lab, [...kept, ...removed]), promptSeconds)
    await lab.stop()
    const changed = endpointsResource('kept', '2', [9090])
    lab.store.update({ put: [changed], remove: removed })
    await lab.start()
    await until('changed', () => lab.clients.length === 2 && lab.has(changed))
    await until('gone', () => lab.gone.length === removed.length, promptSeconds)
    assert(indexOf(lab.gone, typeUrls.listener, '10.0.0.2:80') < indexOf(lab.gone, typeUrls.cluster, 'removed'))
    assert.doesNotMatch(await envoy!.get('/clusters'), /^removed::/m)
  })
})
