import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster_LbPolicy } from '../../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { typeUrls } from '../../../src/envoy/resource.ts'
import { until } from './lab.ts'
import { clusterResource, endpointsResource, listenerResource } from './resources.ts'
import { hasAll, promptSeconds, serviceResources, withEnvoys } from './services.ts'

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
