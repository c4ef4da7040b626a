/** Every case that kube-proxy decides between cluster and local endpoints. */

import type { EndpointTraits } from '../../services/objects/endpointslice.ts'
import type { TrafficPolicy } from '../../services/objects/service.ts'
import type { NodeTopology } from './rules.ts'

export const inZoneA: NodeTopology = { nodeName: 'node1', zone: 'zone-a' }
const inZoneB: NodeTopology = { nodeName: 'node1', zone: 'zone-b' }
const inZoneC: NodeTopology = { nodeName: 'node1', zone: 'zone-c' }
const nowhere: NodeTopology = { nodeName: 'node1', zone: undefined }

type Hints = Pick<EndpointTraits, 'forZones' | 'forNodes'>
const zones = (...names: string[]): Hints => ({ forZones: names.map(name => `zone-${name}`) })
const zoneAndNode = (zone: string, node: string): Hints => ({ forZones: [`zone-${zone}`], forNodes: [node] })

const ready = { ready: true, serving: true, terminating: false }
const unready = { ready: false, serving: false, terminating: false }
const draining = { ready: false, serving: true, terminating: true }
const here = { nodeName: 'node1' }
const there = { nodeName: 'node2' }

interface Case {
  readonly title: string
  readonly node?: NodeTopology
  readonly internal?: TrafficPolicy
  readonly external?: TrafficPolicy
  /** Whether a node port leads to it. */
  readonly nodePort?: boolean
  /** The first is number 1. */
  readonly endpoints: readonly Partial<EndpointTraits>[]
  /** Numbers of the endpoints that the VIP leads to. */
  readonly byVip: readonly number[]
  /** Numbers of those that the node port leads to, for external clients and for those inside the cluster. */
  readonly fromOutside?: readonly number[]
  readonly fromInside?: readonly number[]
  readonly vipDrops?: boolean
  readonly outsideDrops?: boolean
}

const hintedABCA = [zones('a'), zones('b'), zones('c'), zones('a')].map(hints => ({ ...ready, ...hints }))
const twoHereOfFour = hintedABCA.map((endpoint, i) => ({ ...endpoint, ...(i < 2 ? here : there) }))
const eachItsNode = ['node1', 'node2', 'node3', 'node4'].map((node, i) => ({
  ...ready,
  ...zoneAndNode('abca'[i]!, node),
}))
const readyHereAndThere = [
  { ...ready, ...here },
  { ...ready, ...there },
]
const readyThere = [
  { ...ready, ...there },
  { ...ready, ...there },
]

export const cases: readonly Case[] = [
  { title: 'hints for this zone choose', endpoints: hintedABCA, byVip: [1, 4] },
  {
    title: 'external policy Local ignores hints, while the VIP and the cluster itself keep to them',
    external: 'Local',
    nodePort: true,
    endpoints: twoHereOfFour,
    byVip: [1, 4],
    fromOutside: [1, 2],
    fromInside: [1, 4],
  },
  {
    title: 'internal policy Local ignores hints, while the node port keeps to them',
    internal: 'Local',
    nodePort: true,
    endpoints: twoHereOfFour,
    byVip: [1, 2],
    fromOutside: [1, 4],
    fromInside: [1, 4],
  },
  { title: 'a node without a zone ignores hints', node: nowhere, endpoints: [hintedABCA[0]!], byVip: [1] },
  {
    title: 'a node whose zone is empty ignores hints',
    node: { nodeName: 'node1', zone: '' },
    endpoints: [hintedABCA[0]!],
    byVip: [1],
  },
  { title: 'hints for other zones only are ignored', node: inZoneB, endpoints: [hintedABCA[0]!], byVip: [1] },
  {
    title: 'an endpoint of this zone that is not ready is not used, its neighbour is',
    endpoints: [...hintedABCA.slice(0, 3), { ...unready, ...zones('a') }],
    byVip: [1],
  },
  {
    title: 'a zone with endpoints that are not ready only uses the other zones',
    endpoints: [{ ...unready, ...zones('a') }, ...hintedABCA.slice(1, 3), { ...unready, ...zones('a') }],
    byVip: [2, 3],
  },
  {
    title: 'one ready endpoint without hints sets all hints aside',
    endpoints: [hintedABCA[0]!, hintedABCA[1]!, ready, hintedABCA[3]!],
    byVip: [1, 2, 3, 4],
  },
  {
    title: 'an endpoint with hints for several zones serves each of them',
    node: inZoneC,
    endpoints: [zones('a', 'b', 'c'), zones('b', 'c'), zones('b', 'd'), zones('c')].map(hints => ({
      ...ready,
      ...hints,
    })),
    byVip: [1, 2, 4],
  },
  { title: 'hints for this node choose before hints for its zone', endpoints: eachItsNode, byVip: [1] },
  {
    title: 'one ready endpoint without hints for nodes or zones sets both aside',
    endpoints: [eachItsNode[0]!, ready, eachItsNode[2]!, eachItsNode[3]!],
    byVip: [1, 2, 3, 4],
  },
  {
    title: 'hints for other nodes only leave it to the hints for zones',
    node: { nodeName: 'node0', zone: 'zone-a' },
    endpoints: eachItsNode,
    byVip: [1, 4],
  },
  {
    title: 'what is here and what is of this zone may differ: each kind of traffic has its own',
    external: 'Local',
    nodePort: true,
    endpoints: [
      { ...ready, ...here, ...zones('a') },
      { ...ready, ...here, ...zones('b') },
      { ...ready, ...there, ...zones('a') },
      { ...ready, ...there, ...zones('b') },
    ],
    byVip: [1, 3],
    fromOutside: [1, 2],
    fromInside: [1, 3],
  },
  { title: 'internal policy Local without any endpoint refuses', internal: 'Local', endpoints: [], byVip: [] },
  {
    title: 'internal policy Local with endpoints elsewhere only drops',
    internal: 'Local',
    endpoints: readyThere,
    byVip: [],
    vipDrops: true,
  },
  {
    title: 'internal policy Local uses all that are here',
    internal: 'Local',
    endpoints: [
      { ...ready, ...here },
      { ...ready, ...here },
    ],
    byVip: [1, 2],
  },
  {
    title: 'internal policy Local uses none of another node',
    internal: 'Local',
    endpoints: readyHereAndThere,
    byVip: [1],
  },
  { title: 'endpoints that are not ready are not used', endpoints: [unready, unready], byVip: [] },
  { title: 'of several endpoints the ready one is used', endpoints: [unready, ready], byVip: [2] },
  {
    title: 'where all terminate, those that still serve are used, here and there',
    endpoints: [
      { ...draining, ...here },
      { ...draining, ...there },
    ],
    byVip: [1, 2],
  },
  {
    title: 'internal Local and external Cluster: the VIP stays here, the node port goes everywhere',
    internal: 'Local',
    nodePort: true,
    endpoints: readyHereAndThere,
    byVip: [1],
    fromOutside: [1, 2],
    fromInside: [1, 2],
  },
  {
    title: 'internal Cluster and external Local: the VIP goes everywhere, what comes from outside stays here',
    external: 'Local',
    nodePort: true,
    endpoints: readyHereAndThere,
    byVip: [1, 2],
    fromOutside: [1],
    fromInside: [1, 2],
  },
  {
    title: 'both Local: only the cluster itself goes everywhere, by the node port',
    internal: 'Local',
    external: 'Local',
    nodePort: true,
    endpoints: readyHereAndThere,
    byVip: [1],
    fromOutside: [1],
    fromInside: [1, 2],
  },
  {
    title: 'both Local and endpoints elsewhere only: both drop, and the cluster itself still gets there',
    internal: 'Local',
    external: 'Local',
    nodePort: true,
    endpoints: readyThere,
    byVip: [],
    fromOutside: [],
    fromInside: [1, 2],
    vipDrops: true,
    outsideDrops: true,
  },
  {
    title: 'both Local and terminating endpoints elsewhere only: the same',
    internal: 'Local',
    external: 'Local',
    nodePort: true,
    endpoints: [
      { ...draining, ...there },
      { ...draining, ...there },
    ],
    byVip: [],
    fromOutside: [],
    fromInside: [1, 2],
    vipDrops: true,
    outsideDrops: true,
  },
  {
    title: 'each kind of traffic falls back for itself: outside to the one that terminates here, the VIP not at all',
    external: 'Local',
    nodePort: true,
    endpoints: [
      { ...ready, ...there },
      { ...unready, ...here },
      { ...draining, ...here },
      { ...draining, ...there },
    ],
    byVip: [1],
    fromOutside: [3],
    fromInside: [1],
  },
  {
    title: 'the external policy says nothing where nothing leads in from outside',
    external: 'Local',
    endpoints: readyHereAndThere,
    byVip: [1, 2],
  },
  {
    title: 'an endpoint that neither is ready, nor serves, nor terminates is never used',
    endpoints: [unready],
    byVip: [],
  },
]
