/**
 * What one tenant's largest objects cost everybody else on the node: how long the agent's event loop stands still, and how
 * long a change of another Service takes meanwhile.
 *
 * The loop's delay is the agent's own metric, with what the machine's other work adds to it (the first row).
 */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Network } from '../../src/lab/network.ts'
import { pause } from '../../src/lab/wait.ts'
import { writeObjects } from '../lab/generate.ts'
import { readMetrics } from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, p } from '../runner/statistics.ts'
import { type Change, change } from './change.ts'
import { type Fleet, sourceOf } from './scale.ts'

/** The objects as they are, changed a little at each turn. */
type Case = (turn: number) => readonly object[]

const range = (count: number) => Array.from({ length: count }, (_, index) => index)
const address = (index: number) => `10.200.${index >> 8}.${index & 255}`

function service(name: string, spec: object, more: { readonly annotations?: object; readonly status?: object } = {}) {
  const { annotations, status } = more
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'largest', annotations },
    spec: { type: 'LoadBalancer', clusterIP: '10.96.255.1', ports: [{ name: 'http', port: 80 }], ...spec },
    status,
  }
}

function slices(service: string, ports: readonly object[], endpoints: number, turn: number): readonly object[] {
  return range(Math.ceil(endpoints / 1000)).map(slice => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${slice}`,
      namespace: 'largest',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: 'IPv4',
    ports,
    endpoints: range(Math.min(1000, endpoints - slice * 1000)).map(index => {
      const name = `pod-${slice}-${index}`
      return {
        addresses: [address(slice * 1000 + index)],
        // One of them flaps.
        conditions: { ready: slice > 0 || index > 0 || turn % 2 === 0 },
        targetRef: { kind: 'Pod', namespace: 'largest', name },
      }
    }),
  }))
}

const http = [{ name: 'http', port: 8080 }]

const cases: Readonly<Record<string, Case>> = {
  nothing: () => [],
  '2,000 source ranges, 4 ports': turn => [
    service(
      'ranges',
      {
        ports: range(4).map(i => ({ name: `tcp-${i}`, port: 80 + i })),
        loadBalancerSourceRanges: range(2000).map(i => `10.${(i + turn) >> 8}.${(i + turn) & 255}.0/24`),
      },
      { status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } },
    ),
    ...slices(
      'ranges',
      range(4).map(i => ({ name: `tcp-${i}`, port: 80 + i })),
      1,
      0,
    ),
  ],
  '100 ports, 1,000 endpoints, one flaps': turn => {
    const ports = range(100).map(i => ({ name: `http-${i}`, port: 8000 + i }))
    return [service('matrix', { type: 'ClusterIP', ports }), ...slices('matrix', ports, 1000, turn)]
  },
  '1 port, 10,000 endpoints in 10 slices, one flaps': turn => [
    service('crowd', { type: 'ClusterIP' }),
    ...slices('crowd', http, 10_000, turn),
  ],
  '5,000 ports, one endpoint, which flaps': turn => {
    const ports = range(5000).map(i => ({ name: `tcp-${i}`, port: 1 + i }))
    return [service('ports', { type: 'ClusterIP', ports }), ...slices('ports', ports, 2, turn)]
  },
  '1,000 external IPs, 10 endpoints, one flaps': turn => [
    service('external', { externalIPs: range(1000).map(i => `192.0.${2 + (i >> 8)}.${i & 255}`) }),
    ...slices('external', http, 10, turn),
  ],
  '9,000 unknown annotations, other ones each time': turn => {
    const keys = range(9000).map(i => [`config.lightpath.cloud/http-x-${turn}-${i}`, 'x'])
    return [service('annotations', {}, { annotations: Object.fromEntries(keys) })]
  },
  'a NetworkPolicy of 2,000 peers, for 1,000 Pods': turn => [
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'peers', namespace: 'largest' },
      spec: {
        podSelector: {
          matchExpressions: [{ key: 'n', operator: 'NotIn', values: range(2000).map(i => `${i + turn}`) }],
        },
        policyTypes: ['Ingress'],
        ingress: [{ from: range(2000).map(i => ({ podSelector: { matchLabels: { n: `${i}` } } })) }],
      },
    },
    ...range(1000).map(i => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `pod-${i}`, namespace: 'largest', labels: { n: `${i}` } },
      spec: { nodeName: 'node1' },
      status: { podIPs: [{ ip: address(i) }] },
    })),
  ],
}

interface Measured {
  readonly what: string
  /** Milliseconds. */
  readonly loop: number
  readonly changes: readonly Change[]
}

const mostLoopMs = 100
const mostChangeMs = 200
const settleMs = 1500

/** @param turns how often each is changed */
export async function measureLargest(network: Network, fleet: Fleet, turns: number): Promise<Report> {
  const measured: Measured[] = []
  for (const [what, objects] of Object.entries(cases))
    measured.push(await measure(network, fleet, { what, objects, turns }))
  const longest = (of: (change: Change) => number, { changes }: Measured) => p(changes.map(of), 100)
  return {
    title: "Largest: one tenant's largest objects, and what others notice",
    header: [
      '',
      "agent's loop, longest delay",
      "another's change in the kernel, p50, longest",
      'in Envoy, p50, longest',
      'aim',
    ],
    rows: measured.map(each => {
      const { what, loop, changes } = each
      const [kernel, envoy] = [longest(({ kernel }) => kernel, each), longest(({ envoy }) => envoy, each)]
      const half = (of: (change: Change) => number) => figure(p(changes.map(of), 50))
      return [
        what,
        `${figure(loop)} ms`,
        `${half(({ kernel }) => kernel)}, ${figure(kernel)} ms`,
        `${half(({ envoy }) => envoy)}, ${figure(envoy)} ms`,
        aim(`≤ ${mostLoopMs} ms; ≤ ${mostChangeMs} ms`, loop <= mostLoopMs && Math.max(kernel, envoy) <= mostChangeMs),
      ]
    }),
    notes: [`each written ${turns} times, with a change of another Service right after`],
    data: { measured },
  }
}

async function measure(
  network: Network,
  fleet: Fleet,
  { what, objects, turns }: { readonly what: string; readonly objects: Case; readonly turns: number },
): Promise<Measured> {
  const file = join(sourceOf(network, fleet.node), 'largest.json')
  // What came before is not counted.
  await readMetrics(fleet.node)
  const changes: Change[] = []
  for (let turn = 0; turn < turns; turn++) {
    writeObjects(file, objects(turn))
    // It is being read, and what follows is under way.
    await pause(50)
    changes.push(await change(fleet, 'replace'))
    await pause(settleMs / turns)
  }
  rmSync(file)
  await pause(settleMs)
  const loop = (await readMetrics(fleet.node)).get('lightpath_event_loop_delay_seconds')! * 1000
  return { what, loop, changes }
}
