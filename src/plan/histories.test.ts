/** Whatever comes in whichever order: what holds of the table of Services then. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type KubeObject, keyOf } from '../services/objects/objects.ts'
import { aNamespace, aNode, anEndpoint, aPort, aService, aSlice, put, remove } from '../services/testing.ts'
import { ServiceTable } from './nodeplan.ts'
import type { PortState } from './ports/port.ts'

const names = fc.constantFrom('a', 'b', 'c')
const anyObject: fc.Arbitrary<KubeObject> = fc.oneof(
  fc
    .record({
      name: names,
      vip: fc.constantFrom('10.96.0.1', '10.96.0.2'),
      port: fc.constantFrom(80, 81),
      retries: fc.constantFrom('1', '2', 'x'),
      proxy: fc.constantFrom<Record<string, string>>({}, { 'lightpath.cloud/proxy': 'disabled' }),
      nodePort: fc.constantFrom(undefined, 30001, 30002),
      externalIPs: fc.subarray(['10.96.0.1', '10.96.0.2', '192.0.2.1']),
      loadBalancerIPs: fc.subarray(['192.0.2.1', '192.0.2.2']),
      created: fc.constantFrom(1, 2),
      policy: fc.constantFrom('Cluster', 'Local'),
    })
    .map(({ name, vip, port, retries, proxy, nodePort, policy, ...rest }) =>
      aService({
        name,
        namespace: 'n',
        clusterIPs: [vip],
        labels: proxy,
        ports: [aPort({ port, ...(nodePort && { nodePort }) })],
        ...rest,
        externalTrafficPolicy: policy,
        annotations: { 'config.lightpath.cloud/http-num-retries': retries },
      }),
    ),
  fc
    .record({ name: names, service: names, last: fc.integer({ min: 1, max: 3 }), ready: fc.boolean() })
    .map(({ name, service, last, ready }) =>
      aSlice([anEndpoint(`10.244.1.${last}`, { ready, nodeName: `node${last}` })], { namespace: 'n', name, service }),
    ),
  fc.constantFrom<KubeObject>(aNamespace('n'), aNamespace('n', { lightpath: 'disabled' })),
  fc.constantFrom<KubeObject>(aNode('a'), aNode('b')),
)
const anyChange = fc.oneof(
  { weight: 3, arbitrary: anyObject.map(put) },
  { weight: 1, arbitrary: anyObject.map(remove) },
)
const anyHistory = fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 12 })

describe('for all histories', () => {
  test('the reported changes, applied one after another, give the state that the table has', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const table = new ServiceTable('node1')
        const told = new Map<string, PortState>()
        for (const changes of history) {
          for (const { id, before, after } of table.apply(changes).ports) {
            assert.equal(told.get(id), before)
            if (after) told.set(id, after)
            else told.delete(id)
          }
        }
        assert.deepEqual([...told.values()].sort(byId), [...table.states()].sort(byId))
      }),
    )
  })
  test('how one got there does not matter: the same objects give the same states', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const table = new ServiceTable('node1')
        const objects = new Map<string, KubeObject>()
        for (const changes of history) {
          table.apply(changes)
          for (const change of changes) {
            if (change.type === 'put') objects.set(JSON.stringify(keyOf(change.object)), change.object)
            else objects.delete(JSON.stringify(change.key))
          }
        }
        const fresh = new ServiceTable('node1')
        fresh.apply([...objects.values()].map(put))
        assert.deepEqual([...fresh.states()].sort(byId), [...table.states()].sort(byId))
      }),
    )
  })
  test('no two states share a VIP:port, be it external to one of them', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const table = new ServiceTable('node1')
        for (const changes of history) table.apply(changes)
        const claims = [...table.states()].flatMap(({ vip, port, external }) =>
          [...new Set([vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])])].map(
            ip => `${ip} ${port.port} ${port.protocol}`,
          ),
        )
        assert.equal(new Set(claims).size, claims.length)
      }),
    )
  })
})

function byId(a: PortState, b: PortState): number {
  return a.id < b.id ? -1 : 1
}
