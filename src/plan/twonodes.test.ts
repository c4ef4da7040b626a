/** Plans of two nodes that follow the same facts in one process, as a control plane of many nodes would have them. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ClusterFacts, type FactsUpdate } from '../services/clusterfacts.ts'
import type { KubeObject } from '../services/objects/objects.ts'
import { aNetworkPolicy, aNode, anEndpoint, aPod, aPort, aService, aSlice, put, remove } from '../services/testing.ts'
import { EnvoyBudget } from './envoy/budget.ts'
import type { NodeFacts } from './nodefacts.ts'
import { NodePlan } from './nodeplan.ts'
import type { PortState } from './ports/port.ts'
import { stateOf, TestPlan } from './testing.ts'
import { anyHistory } from './testing-histories.ts'

const knowledge = { tellsPods: true, podRanges: [] }

/** Each node's own: flags, and what its Envoy takes. */
const nodes: readonly (() => NodeFacts)[] = [
  () => ({ name: 'node1', budget: new EnvoyBudget({ limit: 1, followsUse: false }) }),
  () => ({
    name: 'node2',
    scope: 'labelled',
    obstacles: { Local: 'this node does not keep the client’s address' },
    reserved: { ports: new Set([8080]), hasAddress: ip => ip === '10.244.1.1' },
    limits: { ofService: 2, ofNamespace: 2 },
  }),
]

function everythingOf(plan: NodePlan) {
  const { policies, podNamespaces, node } = plan
  const states = [...plan.states()].sort(byId)
  const views = states.map(({ namespace, name }) => plan.view(namespace, name))
  return {
    states,
    views,
    counts: plan.counts(),
    clients: policies.clients(),
    facts: policies.facts,
    podNamespaces,
    node,
  }
}

describe('for all histories of one source, two nodes in one process', () => {
  test('each have the plan, and the changes of it, of a process that has only that node', () => {
    fc.assert(
      fc.property(anyHistory, history => {
        const facts = new ClusterFacts(knowledge)
        const pairs = nodes.map(node => ({
          plan: new NodePlan(facts, node()),
          alone: new TestPlan({ knowledge, ...node() }),
        }))
        for (const changes of history) {
          const update = facts.apply(changes)
          for (const { plan, alone } of pairs) {
            const found = plan.apply(update)
            assert.deepEqual(found, alone.tell(changes))
            assert.deepEqual(everythingOf(plan), everythingOf(alone))
            for (const key of found.handedOver) assert.deepEqual(plan.release(key), alone.release(key))
          }
        }
      }),
    )
  })
  test('one that comes later to what is new has the same in the end', () => {
    fc.assert(
      fc.property(anyHistory, fc.func(fc.boolean()), (history, isDue) => {
        const facts = new ClusterFacts(knowledge)
        const [prompt, late] = [0, 1].map(() => new NodePlan(facts, { name: 'node2' })) as [NodePlan, NodePlan]
        const waiting: FactsUpdate[] = []
        const follow = (plan: NodePlan, update: FactsUpdate) => {
          for (const key of plan.apply(update).handedOver) plan.release(key)
        }
        const catchUp = () => {
          for (const update of waiting.splice(0)) follow(late, update)
        }
        for (const [step, changes] of history.entries()) {
          const update = facts.apply(changes)
          follow(prompt, update)
          waiting.push(update)
          if (isDue(step)) catchUp()
        }
        catchUp()
        assert.deepEqual(late.policies.facts, prompt.policies.facts)
        const ids = (plan: NodePlan) => [...plan.states()].map(({ id }) => id).sort()
        assert.deepEqual(ids(late), ids(prompt))
      }),
    )
  })
})

describe('one Service on two nodes', () => {
  const zoned = (ip: string, node: string, zone: string) => anEndpoint(ip, { nodeName: node, forZones: [zone] })
  const slice = aSlice([zoned('10.244.1.2', 'node1', 'a'), zoned('10.244.2.2', 'node2', 'b')])
  const plansOf = (objects: readonly KubeObject[], own: readonly Partial<NodeFacts>[] = [{}, {}]) => {
    const facts = new ClusterFacts(knowledge)
    const plans = own.map((fields, index) => new NodePlan(facts, { name: `node${index + 1}`, ...fields }))
    const update = facts.apply(objects.map(put))
    const updates = plans.map(plan => plan.apply(update))
    return { facts, plans, updates }
  }
  const pods = [aPod('a', '10.244.1.2'), aPod('b', '10.244.2.2', { nodeName: 'node2' })]

  test('has in each zone the endpoints whose hints name it', () => {
    const { plans } = plansOf([aNode('a'), aNode('b', 'node2'), aService(), slice])
    assert.deepEqual(
      plans.map(plan => stateOf(plan).endpoints.map(({ ip }) => ip)),
      [['10.244.1.2'], ['10.244.2.2']],
    )
  })
  test('has by a Local policy each node’s own endpoints, and its load balancer asks each for them', () => {
    const local = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32000 } as const
    const service = aService({ ...local, internalTrafficPolicy: 'Local', loadBalancerIPs: ['192.0.2.1'] })
    const own = aSlice([
      anEndpoint('10.244.1.2', { nodeName: 'node1' }),
      anEndpoint('10.244.1.3', { nodeName: 'node1' }),
    ])
    const { plans, updates } = plansOf([service, own])
    assert.deepEqual(
      plans.map(plan => stateOf(plan).external?.endpoints.length),
      [2, 0],
    )
    assert.deepEqual(
      plans.map(plan => stateOf(plan).noLocalEndpoints),
      [false, true],
    )
    assert.deepEqual(
      updates.map(({ healthChecks }) => healthChecks.get('whoami/whoami')?.map(({ localEndpoints }) => localEndpoints)),
      [[2], [0]],
    )
  })
  test('is in Envoy where that has room, and waits where it has none', () => {
    const two = aService({ ports: [aPort(), aPort({ name: 'http-2', port: 81 })] })
    const both = aSlice([anEndpoint('10.244.1.2')], {
      ports: ['http', 'http-2'].map(name => ({ name, protocol: 'TCP', port: 8080 }) as const),
    })
    const small = new EnvoyBudget({ limit: 1, followsUse: false })
    const { plans } = plansOf([two, both, ...pods], [{ budget: small }, {}])
    assert.deepEqual(
      plans.map(plan => [...plan.states()].map(({ layer }) => layer.wants)),
      [
        ['envoy', 'kernel'],
        ['envoy', 'envoy'],
      ],
    )
  })
  test('is kept from Envoy by a policy on both, while each has its own pods as clients', () => {
    const policy = aNetworkPolicy({ restricts: ['ingress', 'egress'] })
    const { plans } = plansOf([aService(), slice, ...pods, policy])
    assert.deepEqual(
      plans.map(plan => stateOf(plan).layer.wants),
      ['kernel', 'kernel'],
    )
    assert.deepEqual(
      plans.map(({ policies }) => policies.facts.clients),
      [['10.244.1.2'], ['10.244.2.2']],
    )
  })
  test('that is gone leaves nothing behind on either, whichever learns of it first', () => {
    const { facts, plans } = plansOf([aService(), slice, ...pods])
    const update = facts.apply([remove(aService()), remove(slice)])
    for (const plan of plans.toReversed()) {
      assert.deepEqual(
        plan.apply(update).ports.map(({ id, after }) => ({ id, after })),
        [{ id: 'whoami/whoami/http', after: undefined }],
      )
      assert.deepEqual(plan.counts(), { services: 0, endpointSlices: 0, ports: 0 })
    }
  })
  test('concerns a node only by pods of its own, where no policy is in force', () => {
    const { facts, plans } = plansOf([aService(), slice, ...pods])
    const update = facts.apply([put(aPod('new', '10.244.2.9', { nodeName: 'node2' }))])
    assert.deepEqual(
      plans.map(plan => plan.apply(update).policiesChanged),
      [false, true],
    )
  })
})

function byId(a: PortState, b: PortState): number {
  return a.id < b.id ? -1 : 1
}
