/** Endpoints that others have found dead get no new connections, as far as a Service can spare them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Exclusion, Exclusions } from '../../exclusions/exclusion.ts'
import type { EndpointTraits } from '../../services/objects/endpointslice.ts'
import type { Service } from '../../services/objects/service.ts'
import { aNode, anEndpoint, aPort, aService, aSlice, put } from '../../services/testing.ts'
import { growth } from '../../testing/steps.ts'
import { planOf, stateOf, TestPlan } from '../testing.ts'

const excluded = (of: Exclusion['of'], name: string, since = 0): Exclusion => ({
  ...{ of, name, since },
  failure: 'timed out',
  by: ['node2', 'node3'],
  isSilent: of === 'node',
})
const ips = (some: readonly { readonly ip: string }[] | undefined) => some?.map(({ ip }) => ip)
const onNode = (ip: string, nodeName: string, more: Partial<EndpointTraits> = {}) =>
  anEndpoint(ip, { nodeName, ...more })
const three = [onNode('10.244.1.1', 'node1'), onNode('10.244.2.1', 'node2'), onNode('10.244.3.1', 'node3')]

test('an excluded endpoint gets nothing of any Service while it is excluded, and nothing else is told anew', () => {
  const other = aService({ name: 'other', clusterIPs: ['10.96.0.11'] })
  const apart = aService({ name: 'apart', clusterIPs: ['10.96.0.12'] })
  const plan = planOf(
    ...[aService(), other, apart, aSlice(three)],
    aSlice(three, { name: 'other-1', service: 'other' }),
    aSlice([anEndpoint('10.244.9.1')], { name: 'apart-1', service: 'apart' }),
  )
  const before = stateOf(plan)
  const update = plan.setExclusions(new Exclusions([excluded('endpoint', '10.244.2.1:8080')]))
  assert.deepEqual(update.ports.map(({ id }) => id).sort(), ['whoami/other/http', 'whoami/whoami/http'])
  for (const { id } of update.ports) {
    assert.deepEqual(ips(stateOf(plan, id).endpoints), ['10.244.1.1', '10.244.3.1'])
    assert.deepEqual(ips(stateOf(plan, id).leftOut), ['10.244.2.1'])
  }
  assert.deepEqual(plan.setExclusions(new Exclusions([excluded('endpoint', '10.244.2.1:8080')])).ports, [])
  plan.setExclusions(new Exclusions())
  assert.deepEqual(stateOf(plan), before)
})

test('an endpoint is excluded with its TCP port, and a node with all endpoints and protocols', () => {
  const udp = aPort({ name: 'dns', protocol: 'UDP', port: 53 })
  const ports = [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 8080 },
  ] as const
  const plan = planOf(aService({ ports: [aPort(), udp] }), aSlice(three, { ports }))
  const all = ips(three)
  plan.setExclusions(new Exclusions([excluded('endpoint', '10.244.2.1:8080'), excluded('endpoint', '10.244.3.1:80')]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.1.1', '10.244.3.1'])
  assert.deepEqual(ips(stateOf(plan, 'whoami/whoami/dns').endpoints), all)
  plan.setExclusions(new Exclusions([excluded('node', 'node3')]))
  for (const { endpoints } of plan.states()) assert.deepEqual(ips(endpoints), ['10.244.1.1', '10.244.2.1'])
  assert.deepEqual(ips(stateOf(plan, 'whoami/whoami/dns').servingEndpoints), ['10.244.1.1', '10.244.2.1'])
})

test('explain says on whose word an endpoint is left out, or used all the same', () => {
  const plan = planOf(aService(), aSlice(three.slice(1)))
  plan.setExclusions(new Exclusions([excluded('node', 'node3', 1), excluded('endpoint', '10.244.2.1:8080', 2)]))
  const [used, left] = plan.view('whoami', 'whoami')!.candidates.get('whoami/whoami/http')!
  assert.equal(used!.notUsed, undefined)
  assert.equal(used!.excluded, 'excluded since 1970-01-01T00:00:00.002Z: connections time out to it, say node2, node3')
  const why = 'excluded since 1970-01-01T00:00:00.001Z: connections time out there, say node2, node3; it is silent'
  assert.equal(left!.notUsed, why)
})

test('a node goes on with what is on itself, whatever others say of the node', () => {
  const plan = planOf(aService(), aSlice(three))
  plan.setExclusions(new Exclusions([excluded('node', 'node1')]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ips(three))
})

test('with policy Local the last endpoint of this node stays', () => {
  const here = [onNode('10.244.1.1', 'node1'), onNode('10.244.1.2', 'node1'), ...three.slice(1)]
  const plan = planOf(aService({ internalTrafficPolicy: 'Local' }), aSlice(here))
  const first = excluded('endpoint', '10.244.1.1:8080')
  plan.setExclusions(new Exclusions([first]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.1.2'])
  plan.setExclusions(new Exclusions([first, excluded('endpoint', '10.244.1.2:8080')]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.1.1', '10.244.1.2'])
  assert.equal(stateOf(plan).noLocalEndpoints, false)
})

test('where the only endpoint of a zone is excluded, the zone has those of others', () => {
  const inZone = (ip: string, zone: string) => anEndpoint(ip, { zone, forZones: [zone] })
  const plan = planOf(aNode('a'), aService(), aSlice([inZone('10.244.1.1', 'a'), inZone('10.244.2.1', 'b')]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.1.1'])
  plan.setExclusions(new Exclusions([excluded('endpoint', '10.244.1.1:8080')]))
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.2.1'])
})

test('an exclusion costs as much among many Services as among few', async () => {
  const manyServices = (count: number) => {
    const plan = new TestPlan()
    for (let i = 0; i < count; i++) {
      const name = `service-${i}`
      const ip = `10.244.${i >> 8}.${i & 255}`
      plan.tell([put(aService({ name, clusterIPs: [`10.96.${i >> 8}.${i & 255}`] }))])
      plan.tell([put(aSlice([anEndpoint(ip), anEndpoint('10.245.0.1')], { name, service: name }))])
    }
    plan.statesUnlessExcluded('10.244.0.0').next()
    return plan
  }
  const plans = new Map([8, 32].map(count => [count, manyServices(count)]))
  const exclude = (count: number) => {
    const plan = plans.get(count)!
    for (const all of [[excluded('endpoint', '10.244.0.1:8080')], [excluded('endpoint', '10.244.0.1:8080')], []]) {
      plan.setExclusions(new Exclusions(all))
      assert.equal([...plan.statesUnlessExcluded('10.244.0.1')].length, 1)
    }
  }
  assert.ok((await growth(exclude, 8)) < 1.2)
})

test('what would be used were nothing excluded is known while it is', () => {
  const plan = planOf(aService(), aSlice(three))
  const before = stateOf(plan)
  plan.setExclusions(new Exclusions([excluded('endpoint', '10.244.2.1:8080')]))
  for (const ip of ['10.244.1.1', '10.244.2.1']) {
    assert.deepEqual(
      [...plan.statesUnlessExcluded(ip)].map(({ endpoints }) => endpoints),
      [before.endpoints],
    )
  }
  plan.tell([put(aSlice(three.slice(0, 2)))])
  const [now] = plan.statesUnlessExcluded('10.244.2.1')
  assert.deepEqual(ips(now?.endpoints), ['10.244.1.1', '10.244.2.1'])
  assert.deepEqual(ips(stateOf(plan).endpoints), ['10.244.1.1'])
  assert.deepEqual([...plan.statesUnlessExcluded('10.244.3.1')], [])
})

test('what its exclusion keeps from being ready has taken its part of the share, and would be used were nothing excluded', () => {
  const plan = new TestPlan({ manyEndpoints: 2 })
  const isOut = (...out: readonly string[]) =>
    put(aSlice([1, 2, 3, 4].map(i => onNode(`10.244.${i}.1`, `node${i}`, { ready: !out.includes(`node${i}`) }))))
  plan.tell([put(aService()), isOut()])
  plan.setExclusions(new Exclusions([excluded('node', 'node3', 1), excluded('node', 'node2', 2)]))
  plan.tell([isOut('node2', 'node3')])
  const left = () => ips(stateOf(plan).endpoints)
  assert.deepEqual(left(), ['10.244.1.1', '10.244.4.1'])
  plan.setExclusions(new Exclusions(['node2', 'node3', 'node4'].map((node, since) => excluded('node', node, since))))
  assert.deepEqual(left(), ['10.244.1.1', '10.244.4.1'])
  for (const ip of ['10.244.2.1', '10.244.3.1', '10.244.4.1']) {
    const [state] = plan.statesUnlessExcluded(ip)
    assert.deepEqual(ips(state?.endpoints), ['10.244.1.1', '10.244.2.1', '10.244.3.1', '10.244.4.1'])
  }
  plan.setExclusions(new Exclusions([excluded('node', 'node3')]))
  const [state] = plan.statesUnlessExcluded('10.244.3.1')
  assert.deepEqual(ips(state?.endpoints), ['10.244.1.1', '10.244.3.1', '10.244.4.1'])
})

const nodes = ['node1', 'node2', 'node3', 'node4']
const anyEndpoints = fc
  .array(fc.record({ nodeName: fc.constantFrom(...nodes), ready: fc.boolean(), terminating: fc.boolean() }), {
    maxLength: 8,
  })
  .map(all => all.map((fields, i) => anEndpoint(`10.244.0.${i}`, fields)))
const anyExclusions = fc.array(
  fc.record({
    of: fc.constantFrom('node' as const, 'endpoint' as const),
    index: fc.nat(7),
    since: fc.nat(10),
  }),
)

test('whatever is excluded, a port with endpoints keeps some, and all but a share of the ready ones', () => {
  const policies = fc.constantFrom<Service['internalTrafficPolicy'][]>('Cluster', 'Local')
  fc.assert(
    fc.property(
      anyEndpoints,
      anyExclusions,
      policies,
      fc.nat(100),
      (endpoints, some, internalTrafficPolicy, percent) => {
        const plan = new TestPlan({ maxExcluded: percent / 100 })
        plan.tell([put(aService({ internalTrafficPolicy })), put(aSlice(endpoints))])
        const before = stateOf(plan)
        const all = some.map(({ of, index, since }) =>
          excluded(of, of === 'node' ? nodes[index % 4]! : `10.244.0.${index}:8080`, since),
        )
        plan.setExclusions(new Exclusions(all))
        const after = stateOf(plan)
        assert.equal(after.endpoints.length > 0, before.endpoints.length > 0)
        assert.equal(after.noLocalEndpoints, before.noLocalEndpoints)
        const ready = endpoints.filter(({ traits }) => traits.ready).length
        const lost = before.endpoints.filter(({ ip }) => !ips(after.endpoints)!.includes(ip)).length
        assert.ok(lost <= (ready * percent) / 100)
        plan.setExclusions(new Exclusions())
        assert.deepEqual(stateOf(plan), before)
      },
    ),
    { numRuns: 1000 },
  )
})
