import assert from 'node:assert/strict'
import { after, beforeEach, mock, test } from 'node:test'
import { type Resource, type ResourceRef, typeUrls } from '../../../envoy/resource.ts'
import type { Problem } from '../../../services/problem.ts'
import { ResourceStore } from '../../../xds/store.ts'
import { Nacks } from './nacks.ts'

const cluster = aResource({ typeUrl: typeUrls.cluster, name: 'a/web/http' })
const redirect = aResource({ typeUrl: typeUrls.listener, name: 'redirect-IPv4' })

function aResource(ref: ResourceRef, version = '1'): Resource {
  return { ...ref, version, encode: () => new Uint8Array(), requires: [] }
}

const filter = aResource({ typeUrl: typeUrls.filter, name: 'shared/http' })

let store: ResourceStore
let nacks: Nacks
let problems: Map<string, readonly Problem[]>

beforeEach(() => {
  mock.timers.reset()
  mock.timers.enable({ apis: ['setTimeout'] })
  store = new ResourceStore()
  store.update({ put: [cluster, redirect, filter] })
  problems = new Map()
  nacks = new Nacks({
    store,
    ownerOf: ({ name }) => (name === cluster.name ? name : undefined),
    sharedOf: ({ name }) => [redirect, filter].find(shared => shared.name === name),
    remedy: () => 'correct it',
    onProblems: (origin, found) => problems.set(origin, found),
  })
})

after(() => mock.timers.reset())

function refuse(clientId: number, resource: Resource, version = resource.version): void {
  const { typeUrl, name } = resource
  nacks.add(clientId, { ref: { typeUrl, name }, version, detail: 'no such thing\n' })
}

function told(): readonly (readonly [origin: string, reason: string])[] {
  return [...problems].flatMap(([origin, found]) => found.map(({ object, reason }) => [origin, `${object}: ${reason}`]))
}

test('a NACK is one problem of the Service however many Envoys send it, until the last of them has the resource or is gone', () => {
  refuse(1, cluster)
  refuse(2, cluster)
  const problem = ['Envoy a/web/http', 'Service a/web: Envoy refused cluster a/web/http: no such thing']
  assert.deepEqual(told(), [problem])
  assert.equal(nacks.detailOf(cluster), 'no such thing\n')
  nacks.acknowledged(1, cluster)
  assert.deepEqual(told(), [problem])
  nacks.disconnected(2)
  assert.deepEqual(told(), [])
  assert.equal(nacks.detailOf(cluster), undefined)
})

test('an Envoy that acks a resource says nothing of another that rejects it', () => {
  refuse(1, cluster)
  nacks.acknowledged(2, cluster)
  nacks.disconnected(2)
  assert.equal(told().length, 1)
  nacks.removed([cluster])
  assert.deepEqual(told(), [])
})

test('the NACK of a resource that has changed meanwhile is nobody’s problem', () => {
  refuse(1, cluster, '0')
  assert.deepEqual(told(), [])
})

test('a rejected shared resource is sent again in its current form as another version, later each time, until no Envoy rejects it', () => {
  const version = () => store.get(redirect.typeUrl, redirect.name)?.version
  refuse(1, redirect)
  refuse(2, redirect)
  assert.deepEqual(told(), [
    ['Envoy redirect-IPv4', 'Envoy listener redirect-IPv4: Envoy refused listener redirect-IPv4: no such thing'],
  ])
  mock.timers.tick(1999)
  assert.equal(version(), '1')
  mock.timers.tick(1)
  assert.equal(version(), '1-2')
  nacks.acknowledged(1, redirect)
  refuse(2, redirect, '1-2')
  mock.timers.tick(4000)
  assert.equal(version(), '1-3')
  refuse(2, redirect, '1-3')
  nacks.acknowledged(2, redirect)
  mock.timers.tick(60_000)
  assert.equal(version(), '1-3')
})

test('a rejected shared filter is a problem, and is not sent again: Envoy would acknowledge what it has rejected', () => {
  refuse(1, filter)
  assert.deepEqual(told(), [
    ['Envoy shared/http', 'Envoy filter shared/http: Envoy refused filter shared/http: no such thing'],
  ])
  mock.timers.tick(60_000)
  assert.equal(store.get(filter.typeUrl, filter.name)?.version, '1')
})
