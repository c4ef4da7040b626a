import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster_LbPolicy } from '../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { backing, type Resource, refKey, type TypeUrl, typeUrls } from '../../src/envoy/resource.ts'
import {
  clusterResource,
  commonListenerResource,
  Envoy,
  endpointsResource,
  listenerResource,
  routeResource,
  scopeResource,
  until,
  XdsLab,
} from './xds-lab.ts'

/** Less than the 15 s after which Envoy goes on without what it waits for. */
const promptSeconds = 8

/** A lab with running Envoys, all ended with the test. */
async function withEnvoys(
  count: number,
  body: (lab: XdsLab, envoys: readonly Envoy[]) => Promise<void>,
): Promise<void> {
  const lab = new XdsLab()
  const envoys: Envoy[] = []
  try {
    await lab.start()
    for (let n = 1; n <= count; n++) envoys.push(await Envoy.start(lab.path, `node${n}`))
    await body(lab, envoys)
  } catch (error) {
    const logs = envoys.map(envoy => envoy.log().split('\n').slice(-20).join('\n'))
    throw new Error([(error as Error).stack, ...lab.log.slice(-20), ...logs].join('\n'))
  } finally {
    for (const envoy of envoys) await envoy.stop()
    await lab.destroy()
  }
}

function serviceResources(name: string, version: string, address = '10.0.0.1'): Resource[] {
  return [
    clusterResource(name, version),
    endpointsResource(name, version, [8080]),
    listenerResource(`${address}:80`, version, name, { address }),
  ]
}

const hasAll = (lab: XdsLab, resources: readonly Resource[], client?: number) =>
  resources.every(resource => lab.has(resource, client))

const indexOf = (list: readonly { typeUrl: TypeUrl; name: string }[], typeUrl: TypeUrl, name: string) => {
  const index = list.findIndex(ref => ref.typeUrl === typeUrl && ref.name === name)
  assert.notEqual(index, -1, `${typeUrl} ${name} was never reported`)
  return index
}

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

test('of resources that Envoy refuses by name only those are refused, and what Envoy had of them stays', async () => {
  await withEnvoys(1, async lab => {
    const before = serviceResources('a', '1')
    lab.store.update({ put: before })
    await until('delivered', () => hasAll(lab, before), promptSeconds)

    const useless = Cluster_LbPolicy.CLUSTER_PROVIDED
    const good = ['a2', 'a/b', 'aa'].flatMap((name, n) => serviceResources(name, '1', `10.0.1.${n}`))
    lab.store.update({ put: [...good, clusterResource('a', '2', { lbPolicy: useless })] })
    await until('refused', () => lab.nacks.length > 0, promptSeconds)
    await until('siblings', () => hasAll(lab, good), promptSeconds)
    assert.deepEqual(
      lab.nacks.map(({ ref, version }) => [ref.name, version]),
      [['a', '2']],
    )
    assert.match(lab.nacks[0]!.detail, /cluster provided LB specified/)
    assert(hasAll(lab, before))

    // The same address under another name, beside a good one.
    const other = listenerResource('other', '1', 'a')
    const fine = listenerResource('10.0.0.1:8080', '1', 'a', { port: 8080 })
    lab.store.update({ put: [other, fine] })
    await until('sibling listener', () => lab.has(fine) && lab.nacks.length === 2, promptSeconds)
    assert.equal(lab.nacks[1]!.ref.name, 'other')

    const repaired = clusterResource('a', '3', { lbPolicy: Cluster_LbPolicy.RANDOM })
    lab.store.update({ put: [repaired] })
    await until('repaired', () => lab.has(repaired), promptSeconds)
    assert.equal(lab.nacks.length, 2)
  })
})

test('so many resources refused by name that Envoy cuts its message are all found', async () => {
  await withEnvoys(1, async lab => {
    const bad = Array.from({ length: 80 }, (_, n) =>
      clusterResource(`bad/${n}`, '1', { lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED }),
    )
    const good = Array.from({ length: 20 }, (_, n) => clusterResource(`good/${n}`, '1'))
    lab.store.update({ put: [...bad, ...good] })
    await until('found', () => lab.nacks.length === bad.length && hasAll(lab, good), promptSeconds)
    assert(lab.nacks.some(({ detail }) => detail.endsWith('...(truncated)')))
    assert(lab.nacks.every(({ ref }) => ref.name.startsWith('bad/')))
  })
})

test('one resource among 100 that is broken as protobuf is found, and the 99 others arrive', async () => {
  await withEnvoys(1, async lab => {
    const clusters = Array.from({ length: 100 }, (_, n) => clusterResource(`n/s${n}/http`, '1'))
    const endpoints = clusters.map(({ name }) => endpointsResource(name, '1', [80]))
    const broken = { ...clusters[37]!, encode: () => Uint8Array.of(10, 200, 1) }
    lab.store.update({ put: [...clusters.with(37, broken), ...endpoints] })
    const others = [...clusters, ...endpoints].filter(({ name }) => name !== broken.name)
    await until('the 99 others', () => hasAll(lab, others), promptSeconds)
    await until('found', () => lab.nacks.length > 0, promptSeconds)
    assert.deepEqual(
      lab.nacks.map(({ ref }) => ref.name),
      [broken.name],
    )
  })
})

test('endpoints that Envoy refuses keep no other endpoints from arriving', async () => {
  await withEnvoys(1, async lab => {
    const services = Array.from({ length: 10 }, (_, n) => serviceResources(`s${n}`, '1', `10.0.0.${n}`)).flat()
    lab.store.update({ put: services })
    await until('delivered', () => hasAll(lab, services), promptSeconds)
    const moved = Array.from({ length: 10 }, (_, n) =>
      endpointsResource(`s${n}`, '2', [9090], n === 4 ? 'no-ip' : '127.0.0.1'),
    )
    lab.store.update({ put: moved })
    await until('the others', () => hasAll(lab, moved.toSpliced(4, 1)) && lab.nacks.length > 0, promptSeconds)
    assert.deepEqual(
      lab.nacks.map(({ ref }) => ref.name),
      ['s4'],
    )
    assert(lab.has(services.find(({ typeUrl, name }) => typeUrl === typeUrls.endpoints && name === 's4')!))
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

const vip = '10.96.0.10:80'
const anyAddress = '0.0.0.0:80'
const backed = (name: string) => [clusterResource(name, '1'), endpointsResource(name, '1', [8080])]
const scoped = (cluster: string, version: string) => [
  routeResource(vip, version, cluster),
  commonListenerResource(anyAddress, '1'),
  scopeResource(vip, cluster, anyAddress),
]

test('the routes of a scope follow it, also when the listener of all scopes was away', async () => {
  await withEnvoys(1, async lab => {
    const resources = scoped('a', '1')
    lab.store.update({ put: [...backed('a'), ...resources] })
    await until('delivered', () => hasAll(lab, resources), promptSeconds)
    lab.store.update({ remove: resources })
    await until('gone', () => resources.every(resource => lab.order.includes(`lost ${refKey(resource)}`)))
    lab.store.update({ put: resources })
    await until('delivered again', () => hasAll(lab, resources), promptSeconds)
  })
})

/** The address of `a` goes to `b` by another route and the same scope, and `a` is removed. */
function moveAddress(lab: XdsLab): void {
  lab.store.update({ put: scoped('b', '2'), remove: backing('a') })
}

const gone = (lab: XdsLab, name: string) => lab.order.includes(`lost ${typeUrls.cluster} ${name}`)

function assertRouteMovedFirst(lab: XdsLab): void {
  const moved = lab.order.indexOf(`has ${typeUrls.route} ${vip} 2`)
  assert(moved !== -1 && moved < lab.order.indexOf(`lost ${typeUrls.cluster} a`), lab.order.join('\n'))
}

test('an address goes to another Service by its route, and then the old cluster leaves', async () => {
  await withEnvoys(1, async lab => {
    const before = [...backed('a'), ...backed('b'), ...scoped('a', '1')]
    lab.store.update({ put: before })
    await until('delivered', () => hasAll(lab, before), promptSeconds)
    moveAddress(lab)
    await until('gone', () => gone(lab, 'a'), promptSeconds)
    assertRouteMovedFirst(lab)
  })
})

test('so it does when the address went there while the server was away', async () => {
  await withEnvoys(1, async lab => {
    const before = [...backed('a'), ...backed('b'), ...scoped('a', '1')]
    lab.store.update({ put: before })
    await until('delivered', () => hasAll(lab, before), promptSeconds)
    await lab.stop()
    moveAddress(lab)
    await lab.start()
    await until('gone', () => gone(lab, 'a'), promptSeconds)
    assertRouteMovedFirst(lab)
  })
})

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
