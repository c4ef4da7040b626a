/** The setting spill-over: Envoy has the endpoints that topology leaves to other zones, behind those of this one. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aNode, anEndpoint, aService, aSlice, put } from '../../services/testing.ts'
import { planOf, stateOf } from '../testing.ts'

const annotations = { 'config.lightpath.cloud/http-spill-over': 'true' }
const inZone = (ip: string, zone: string, more = {}) => anEndpoint(ip, { zone, forZones: [zone], ...more })
const endpoints = [inZone('10.244.1.1', 'a'), inZone('10.244.2.1', 'b'), inZone('10.244.2.2', 'c')]
const ips = (some: readonly { readonly ip: string }[] | undefined) => some?.map(({ ip }) => ip)

test('Envoy has the endpoints of other zones, too, and the kernel layer does not', () => {
  const plan = planOf(aNode('a'), aService({ annotations }), aSlice(endpoints))
  const { endpoints: near, spillOver } = stateOf(plan)
  assert.deepEqual(ips(near), ['10.244.1.1'])
  assert.deepEqual(ips(spillOver), ['10.244.2.1', '10.244.2.2'])
})

test('without the setting, without hints, or with internalTrafficPolicy Local there is nothing beyond', () => {
  const spillOverOf = (service: Parameters<typeof aService>[0], some = endpoints) =>
    stateOf(planOf(aNode('a'), aService(service), aSlice(some))).spillOver
  assert.equal(spillOverOf({}), undefined)
  assert.equal(spillOverOf({ annotations, internalTrafficPolicy: 'Local' }), undefined)
  assert.equal(
    spillOverOf(
      { annotations },
      ['10.244.1.1', '10.244.2.1'].map(ip => anEndpoint(ip)),
    ),
    undefined,
  )
})

test('what is not ready is not among them, and what changes there changes the port', () => {
  const plan = planOf(aNode('a'), aService({ annotations }), aSlice(endpoints))
  const before = stateOf(plan)
  plan.tell([put(aSlice([...endpoints]))])
  assert.equal(stateOf(plan), before, 'nothing changed')
  plan.tell([put(aSlice(endpoints.with(1, inZone('10.244.2.1', 'b', { ready: false, serving: false }))))])
  assert.deepEqual(ips(stateOf(plan).spillOver), ['10.244.2.2'])
  assert.equal(stateOf(plan).endpoints, before.endpoints)
})
