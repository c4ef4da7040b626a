import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeStatus } from '../node/report/answers/status.ts'
import { problem } from '../services/problem.ts'
import { checksOf, type NodeFacts } from './evaluate.ts'

const status: NodeStatus = {
  node: 'node1',
  version: '1.0.0',
  synced: true,
  objects: { services: 1, endpointSlices: 1, ports: 1 },
  envoy: {
    up: true,
    clients: [{ nodeId: 'node1', version: '1.40.0', state: 'serving', instance: 1, connectedSince: '' }],
  },
  paths: { IPv4: { outcome: 'open', by: 'pod 10.244.1.1' }, IPv6: { outcome: 'absent' } },
  redirectExemptPods: { count: 0, examples: [] },
  excluded: { count: 0, examples: [] },
  overlayOff: false,
  layers: { envoy: 1, kernel: 0, draining: 0 },
  waiting: [],
  eligible: { count: 0, examples: [] },
  problems: [],
}

const pod = { node: 'node1', name: 'lightpath-x', isReady: true, state: 'Running', leaves: false, image: 'lightpath:1' }

const well: NodeFacts = {
  node: 'node1',
  isReady: true,
  agent: pod,
  envoy: pod,
  status,
  requests: [
    { url: 'http://10.96.0.1:80/', layer: 'envoy', ms: 2.2 },
    { url: 'http://10.96.0.1:81/', layer: 'kernel', ms: 0.4 },
  ],
}

const wrong = (facts: Partial<NodeFacts>) =>
  checksOf({ ...well, ...facts }, '1.0.0')
    .filter(({ outcome }) => outcome !== 'ok')
    .map(({ outcome, name, found }) => `${outcome} ${name}: ${found}`)

test('a node on which everything works has nothing to do, and says how long each request took', () => {
  assert.deepEqual(wrong({}), [])
  const requests = checksOf(well, '1.0.0').filter(({ name }) => name.startsWith('request'))
  assert.deepEqual(
    requests.map(({ found }) => found),
    ['http://10.96.0.1:80/ in 2 ms', 'http://10.96.0.1:81/ in 1 ms'],
  )
})

test('every fault is reported, with what to do', () => {
  const off = { ...status, overlayOff: true, problems: [problem('LP408', 'node', 'switched off', 'on')] }
  const blocked = { ...status, paths: { IPv4: { outcome: 'blocked' as const, by: 'pod', reason: 'lost at input' } } }
  const down = { ...status, envoy: { up: false, clients: [] } }
  const owned = { ...status, problems: [problem('LP201', 'Service a/b', 'no such setting', 'remove it')] }
  const cases: readonly (readonly [Partial<NodeFacts>, readonly string[]])[] = [
    [{ isReady: false }, ['fails node: it is not ready']],
    [{ agent: undefined, status: { error: 'its agent is not ready' } }, ['fails agent: it has no pod here']],
    [
      { envoy: { ...pod, isReady: false, state: 'CrashLoopBackOff: back-off' } },
      ['fails Envoy: its pod is not ready: CrashLoopBackOff: back-off'],
    ],
    [{ status: { error: 'HTTP 500' } }, ['fails status: HTTP 500']],
    [{ status: { ...status, version: '0.9.0' } }, ['warning version: 0.9.0, where most nodes have 1.0.0']],
    [{ status: down }, ['fails overlay: Envoy is not connected to the agent; the kernel layer serves all Services']],
    [{ status: off }, ['warning overlay: people have switched it off']],
    [{ status: blocked }, ['fails path of pods to Envoy, IPv4: blocked: lost at input']],
    [{ status: owned }, ['warning problem LP201: Service a/b: no such setting']],
    [
      { requests: [{ url: 'http://10.96.0.1:80/', layer: 'envoy', error: 'ECONNREFUSED' }] },
      ['fails request through Envoy: http://10.96.0.1:80/: ECONNREFUSED'],
    ],
    [{ requests: { error: 'interrupted' } }, ['fails requests: interrupted']],
  ]
  for (const [facts, expected] of cases) {
    assert.deepEqual(wrong(facts), expected)
    for (const { outcome, remedy } of checksOf({ ...well, ...facts }, '1.0.0'))
      assert.ok(outcome === 'ok' || remedy !== '', outcome)
  }
})
