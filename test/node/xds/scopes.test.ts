import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backing, refKey, typeUrls } from '../../../src/envoy/resource.ts'
import { until, type XdsLab } from './lab.ts'
import {
  clusterResource,
  commonListenerResource,
  endpointsResource,
  routeResource,
  scopeResource,
} from './resources.ts'
import { hasAll, promptSeconds, withEnvoys } from './services.ts'

const vip = '10.96.0.10:80'
const anyAddress = '0.0.0.0:80'
const backed = (name: string) => [clusterResource(name, '1'), endpointsResource(name, '1', [8080])]
const scoped = (cluster: string, version: string) => [
  routeResource(vip, version, cluster),
  commonListenerResource(anyAddress, '1'),
  scopeResource(vip, cluster, anyAddress),
]

/** The address of `a` goes to `b` by another route and the same scope, and `a` is removed. */
function moveAddress(lab: XdsLab): void {
  lab.store.update({ put: scoped('b', '2'), remove: backing('a') })
}

const gone = (lab: XdsLab, name: string) => lab.order.includes(`lost ${typeUrls.cluster} ${name}`)

function assertRouteMovedFirst(lab: XdsLab): void {
  const moved = lab.order.indexOf(`has ${typeUrls.route} ${vip} 2`)
  assert(moved !== -1 && moved < lab.order.indexOf(`lost ${typeUrls.cluster} a`), lab.order.join('\n'))
}

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
