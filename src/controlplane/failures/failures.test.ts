import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Sight } from '../../facts/failures.ts'
import type { EndpointTraits } from '../../services/objects/endpointslice.ts'
import { aNode, anEndpoint, aPod, aSlice, put, remove } from '../../services/testing.ts'
import { Failures } from './failures.ts'
import { ReadyEndpoints } from './readyendpoints.ts'

const endpoint = '10.244.9.1:8080'
const slice = aSlice([anEndpoint('10.244.9.1', { nodeName: 'node9' })])
const times = { answerMs: 100, validMs: 1000, settleMs: 10, askMs: 50 }
const sees = (seen: Sight['seen'], of = endpoint): readonly Sight[] => [{ endpoint: of, seen, since: 0 }]

function setup(...nodes: readonly string[]) {
  const ready = new ReadyEndpoints()
  ready.apply([put(slice), put(aPod('pod', '10.244.9.1', { nodeName: 'node9' }))])
  const failures = new Failures(ready, times)
  for (const node of nodes) failures.report({ node, sights: [] }, 0)
  const says = (seen: Sight['seen'], now: number, ...some: readonly string[]) => {
    for (const node of some) failures.report({ node, sights: sees(seen) }, now)
    return failures.review(now, now)
  }
  const excluded = () => failures.exclusions.map(({ of, name, by }) => `${of} ${name} ${by}`)
  return { ready, failures, says, excluded }
}

test('nobody is asked while nobody suspects anything, and of what is no ready endpoint', () => {
  const { ready, failures, says } = setup('node1', 'node2')
  assert.equal(failures.review(1, 1), false)
  assert.equal(failures.isInQuestion, false)
  assert.equal(says('suspected', 2, 'node1'), true)
  assert.deepEqual(failures.verdictFor('node2', 2).asked, [endpoint])
  ready.apply([remove(slice)])
  assert.equal(failures.review(3, 3), true)
  assert.deepEqual(failures.verdictFor('node2', 3).asked, [])
})

test('a suspicion is no vote, and who does not use the endpoint has none', () => {
  const { failures, says, excluded } = setup('node1', 'node2', 'node3', 'node4')
  says('suspected', 1, 'node1', 'node2', 'node3', 'node4')
  assert.deepEqual(excluded(), [])
  says('timed out', 2, 'node1', 'node2')
  assert.deepEqual(excluded(), [])
  says('not used', 3, 'node3')
  assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2`])
  // It forgets what it is not asked, and would count as one that reaches the endpoint.
  assert.deepEqual(failures.verdictFor('node3', 3).asked, [endpoint])
  says('answers', 4, 'node2', 'node4')
  assert.deepEqual(excluded(), [])
})

test('what is not ready for its exclusion alone stays in question until nodes reach it, and then is not excluded', () => {
  const { ready, failures, says, excluded } = setup('node1', 'node2')
  says('refused', 1, 'node1', 'node2')
  const gated = aPod('pod', '10.244.9.1', { nodeName: 'node9', gated: 'containers ready' })
  const leaves = (fields: Partial<EndpointTraits>) =>
    put(aSlice([anEndpoint('10.244.9.1', { nodeName: 'node9', ready: false, serving: false, ...fields })]))
  ready.apply([put({ ...gated, isUnreachable: true }), leaves({})])
  failures.review(2, 2)
  assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2`])
  assert.deepEqual(failures.verdictFor('node1', 2).asked, [endpoint])
  says('answers', 3, 'node1', 'node2')
  assert.deepEqual(excluded(), [])
  for (const pod of [gated, { ...gated, isUnreachable: true, gated: 'containers not ready' } as const]) {
    ready.apply([put(pod)])
    assert.equal(ready.find(endpoint), undefined)
  }
  ready.apply([put({ ...gated, isUnreachable: true }), leaves({ terminating: true })])
  assert.equal(ready.find(endpoint), undefined)
})

test('a node is excluded that does not answer what it is asked, and not where its connection has ended', () => {
  const { failures, says, excluded } = setup('node1', 'node2', 'node9')
  says('timed out', 1, 'node1', 'node2')
  for (const node of ['node1', 'node2', 'node9']) failures.verdictFor(node, 1)
  failures.verdictFor('node9', 100)
  says('timed out', 102, 'node1', 'node2')
  assert.deepEqual(excluded(), ['node node9 node1,node2'])
  failures.left('node9')
  failures.review(103, 103)
  assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2`])
})

test('exclusions are not said until the nodes had time to say what they see', () => {
  const { failures, says } = setup('node1', 'node2')
  says('refused', 1, 'node1', 'node2')
  assert.equal(failures.verdictFor('node1', 1).exclusions, undefined)
  assert.equal(failures.verdictFor('node1', 10).exclusions?.length, 1)
})

test('of many nodes some are asked, whoever suspects the endpoint', () => {
  const nodes = Array.from({ length: 500 }, (_, i) => `node${i}`)
  const { failures, says, excluded } = setup(...nodes)
  const askedOf = () => nodes.filter(node => failures.verdictFor(node, 1).asked.length > 0)
  says('suspected', 1, 'node1')
  const asked = askedOf()
  assert.equal(asked.length, 32)
  const others = nodes.filter(node => !asked.includes(node)).slice(0, 100)
  says('timed out', 2, ...others)
  assert.deepEqual(askedOf(), asked)
  assert.deepEqual(excluded(), [])
  says('timed out', 3, ...asked.slice(0, 17))
  assert.equal(excluded().length, 1)
})

test('agents hear at once what is excluded, and on whose word when they are asked again', () => {
  const { failures, says } = setup('node1', 'node2', 'node3')
  says('suspected', 1, 'node1')
  assert.equal(says('timed out', 2, 'node1', 'node2'), true)
  assert.equal(says('timed out', 3, 'node3'), false)
  assert.deepEqual(failures.verdictFor('node1', 20).exclusions?.[0]?.by, ['node1', 'node2', 'node3'])
  assert.equal(says('answers', 4, 'node1', 'node2'), true)
})

test('where many of those that are asked do not use the endpoint, others are asked as well', () => {
  const nodes = Array.from({ length: 100 }, (_, i) => `node${i}`)
  const { failures, says, excluded } = setup(...nodes)
  const askedOf = () => nodes.filter(node => failures.verdictFor(node, 1).asked.length > 0)
  says('suspected', 1, 'node1')
  const unused = askedOf().filter(node => node !== 'node1')
  says('not used', 2, ...unused)
  const asked = askedOf()
  assert.ok(unused.every(node => asked.includes(node)))
  assert.ok(asked.length >= unused.length + 32)
  const users = asked.filter(node => !unused.includes(node))
  says('timed out', 3, ...users.slice(0, 17))
  assert.equal(excluded().length, 1)
})

test('however many endpoints of one namespace fail, others are asked about those of another', () => {
  const { ready, failures } = setup('node1', 'node2')
  const ips = Array.from({ length: 400 }, (_, i) => `10.245.${i >> 8}.${i & 255}`)
  ready.apply([
    put(
      aSlice(
        ips.map(ip => anEndpoint(ip)),
        { namespace: 'many', name: 'many' },
      ),
    ),
  ])
  const askedOf = () => failures.verdictFor('node2', 1).asked
  const all = ips.flatMap(ip => sees('refused', `${ip}:8080`))
  failures.report({ node: 'node1', sights: all.slice(0, 200) }, 1)
  failures.report({ node: 'node3', sights: all.slice(200) }, 1)
  failures.review(1, 1)
  assert.equal(askedOf().length, 256)
  failures.report({ node: 'node2', sights: sees('suspected') }, 2)
  failures.review(2, 2)
  assert.equal(askedOf().length, 256)
  assert.ok(askedOf().includes(endpoint))
  // Others come in when there is a place again.
  failures.report({ node: 'node1', sights: [] }, 3)
  failures.review(3, 3)
  assert.equal(askedOf().length, 201)
})

test('an agent that suspects everything takes no place from what several nodes find failing', () => {
  const { ready, failures, says, excluded } = setup('node1', 'node2', 'node3', 'liar')
  const ips = Array.from({ length: 256 }, (_, i) => `10.245.0.${i}`)
  const sliceOf = (ip: string) => put(aSlice([anEndpoint(ip)], { namespace: `of-${ip}`, name: 'slice' }))
  ready.apply(ips.map(sliceOf))
  failures.report({ node: 'liar', sights: ips.flatMap(ip => sees('timed out', `${ip}:8080`)) }, 1)
  failures.review(1, 1)
  const asked = () => failures.verdictFor('node3', 1).asked
  assert.equal(asked().length, 256)
  says('suspected', 2, 'node1')
  assert.ok(!asked().includes(endpoint))
  says('timed out', 3, 'node1', 'node2', 'node3')
  assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2,node3`])
  assert.equal(asked().length, 256)
})

test('what a slice says of the node of its endpoints has no node excluded', () => {
  const { ready, failures, says, excluded } = setup('node1', 'node2', 'node3', 'node9')
  ready.apply([put(aSlice([anEndpoint('10.244.3.1', { nodeName: 'node9' })], { name: 'forged' }))])
  const forged = '10.244.3.1:8080'
  for (const nodeName of ['node9', 'node3']) {
    for (const node of ['node1', 'node2']) failures.report({ node, sights: sees('timed out', forged) }, 1)
    failures.verdictFor('node9', 1)
    says('answers', 102, 'node3')
    for (const node of ['node1', 'node2']) failures.report({ node, sights: sees('timed out', forged) }, 102)
    failures.review(102, 102)
    assert.deepEqual(excluded(), [`endpoint ${forged} node1,node2`], nodeName)
    ready.apply([put(aPod('other', '10.244.3.1', { nodeName: 'node3' }))])
  }
})

test('what is labelled so is never excluded, nor what is on a node that is, and no longer where it is by now', () => {
  const { ready, failures, says, excluded } = setup('node1', 'node2', 'node9')
  const keep = { 'lightpath.cloud/exclusion': 'disabled' }
  const pod = aPod('pod', '10.244.9.1', { nodeName: 'node9' })
  const node = aNode('a', 'node9')
  for (const [kept, back] of [
    [{ ...pod, labels: keep }, pod],
    [{ ...node, labels: keep }, node],
  ] as const) {
    says('timed out', 1, 'node1', 'node2')
    assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2`])
    ready.apply([put(kept)])
    assert.equal(failures.review(2, 2), true)
    assert.deepEqual(excluded(), [])
    assert.deepEqual(failures.verdictFor('node1', 2).asked, [])
    ready.apply([put(back)])
    failures.review(3, 3)
    assert.deepEqual(excluded(), [`endpoint ${endpoint} node1,node2`])
  }
})

test('an endpoint is found in whichever slice has it ready, by address and number', () => {
  const ready = new ReadyEndpoints()
  const v6 = aSlice([anEndpoint('fd00::1', { nodeName: 'node1' }), anEndpoint('fd00::2', { ready: false })], {
    name: 'v6',
    family: 'IPv6',
  })
  ready.apply([put(slice), put({ ...slice, name: 'other' }), put(v6)])
  ready.apply([remove(slice)])
  const all = [endpoint, '10.244.9.1:8081', '10.244.9.1:08080', '[fd00::1]:8080', '[fd00::2]:8080', '10.244.9.2:8080']
  assert.deepEqual(
    all.filter(one => ready.find(one) !== undefined),
    [endpoint, '[fd00::1]:8080'],
  )
})

test('the node of an endpoint is that of the Pod or Node that alone has its address', () => {
  const ready = new ReadyEndpoints()
  ready.apply([put(slice), put(aNode('a', 'node8'))])
  const found = () => ready.find(endpoint)
  assert.deepEqual(found(), { node: undefined, namespace: 'whoami' })
  const pod = aPod('pod', '10.244.9.1', { nodeName: 'node7', namespace: 'shop' })
  ready.apply([put(pod)])
  assert.deepEqual(found(), { node: 'node7', namespace: 'shop' })
  ready.apply([put({ ...aNode('a', 'node8'), addresses: ['10.244.9.1'] })])
  assert.deepEqual(found(), { node: undefined, namespace: 'whoami' })
  ready.apply([remove(pod)])
  assert.deepEqual(found(), { node: 'node8', namespace: 'whoami' })
  ready.remove('Node', 'node8')
  assert.equal(found()?.node, undefined)
})
