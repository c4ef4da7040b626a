import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { anEndpoint, aPod, aSlice, put, remove } from '../../services/testing.ts'
import { ReadyEndpoints } from '../failures/readyendpoints.ts'
import { isTeller } from './teller.ts'
import { wantedChanges } from './wanted.ts'

const ipOf = (i: number) => `10.244.0.${i}`
const nobody: ReadonlySet<string> = new Set()
const excluded = (of: Exclusion['of'], name: string, since = 0): Exclusion => ({
  ...{ of, name, since },
  failure: 'timed out',
  by: ['node2', 'node3'],
  isSilent: of === 'node',
})

/** Pods 0 to count, on nodes of their own, endpoints of one Service. */
function clusterOf(count: number, fields: Parameters<typeof aPod>[2] = {}): ReadyEndpoints {
  const ready = new ReadyEndpoints()
  const all = Array.from({ length: count }, (_, i) => i)
  ready.apply([put(aSlice(all.map(i => anEndpoint(ipOf(i)))))])
  ready.apply(all.map(i => put(aPod(`pod${i}`, ipOf(i), { nodeName: `node${i}`, ...fields }))))
  return ready
}

const said = (ready: ReadyEndpoints, exclusions: readonly Exclusion[], share = 0.5, maybeTold = nobody) =>
  wantedChanges({ exclusions, ready, maybeTold, share }).map(
    ({ pod, exclusion }) => `${pod} ${exclusion?.name ?? 'reachable'}`,
  )

test('a Pod is told of whose endpoint or node is excluded, and again once it is not', () => {
  const ready = clusterOf(4)
  const both = [excluded('endpoint', '10.244.0.1:8080'), excluded('node', 'node2')]
  assert.deepEqual(said(ready, both).sort(), ['whoami/pod1 10.244.0.1:8080', 'whoami/pod2 node2'])
  ready.apply([put(aPod('pod1', ipOf(1), { nodeName: 'node1', isUnreachable: true }))])
  assert.deepEqual(said(ready, both), ['whoami/pod2 node2'])
  assert.deepEqual(said(ready, []), ['whoami/pod1 reachable'])
  assert.deepEqual(said(ready, [], 0.5, new Set(['whoami/pod2'])), ['whoami/pod1 reachable'])
})

test('of what is no endpoint, or not certain to be one Pod, nothing is told', () => {
  const ready = clusterOf(2)
  ready.apply([put(aPod('idle', '10.244.9.9', { nodeName: 'node1' })), put(aPod('other', ipOf(0), {}))])
  assert.deepEqual(said(ready, [excluded('node', 'node1'), excluded('endpoint', '10.244.0.0:8080')]), [
    'whoami/pod1 node1',
  ])
})

test('Pods without the gate are told of whatever a Service can spare, since nothing follows from it', () => {
  assert.equal(
    said(
      clusterOf(3),
      [0, 1, 2].map(i => excluded('node', `node${i}`)),
    ).length,
    3,
  )
})

test('of Pods with the gate those that were excluded first are told of, as far as each of their Services can spare them', () => {
  const ready = clusterOf(5, { gated: 'containers ready' })
  const all = [4, 3, 2, 1, 0].map((i, since) => excluded('node', `node${i}`, since))
  assert.deepEqual(said(ready, all).sort(), ['whoami/pod3 node3', 'whoami/pod4 node4'])
  assert.deepEqual(said(ready, all, 0), [])
  assert.deepEqual(said(ready, all, 1).length, 4)
  const other = aSlice([anEndpoint(ipOf(4))], { name: 'other-1', service: 'other' })
  ready.apply([put(other)])
  assert.deepEqual(said(ready, all), ['whoami/pod3 node3'])
  ready.apply([remove(other)])
  assert.deepEqual(said(ready, all).length, 2)
})

test('a Service of another namespace keeps no Pod ready, whose only endpoint it may be', () => {
  const ready = clusterOf(5, { gated: 'containers ready' })
  const all = [excluded('node', 'node4')]
  ready.apply([put(aSlice([anEndpoint(ipOf(4))], { name: 'other-1', service: 'other', namespace: 'other' }))])
  assert.deepEqual(said(ready, all), ['whoami/pod4 node4'])
})

test('of two families the same Pods are told of, and one that no Service uses keeps nobody ready', () => {
  const ready = new ReadyEndpoints()
  const all = [0, 1, 2, 3].map(i => ({ v4: ipOf(i), v6: `fd00::${9 - i}` }))
  const gated = 'containers ready'
  ready.apply(all.map(({ v4, v6 }, i) => put(aPod(`pod${i}`, v4, { nodeName: 'node1', gated, addresses: [v4, v6] }))))
  const slices = [
    aSlice(all.map(({ v4 }) => anEndpoint(v4))),
    aSlice(
      all.map(({ v6 }) => anEndpoint(v6)),
      { name: 'v6', family: 'IPv6' },
    ),
  ] as const
  const both = ['whoami/pod0 node1', 'whoami/pod1 node1']
  ready.apply([put(slices[0])])
  assert.deepEqual(said(ready, [excluded('node', 'node1')]), both)
  ready.apply([put(slices[1])])
  assert.deepEqual(said(ready, [excluded('node', 'node1')]), both)
})

test('a Pod that is to be ready again counts until it is, and so does one that was told of a moment ago', () => {
  const ready = clusterOf(2, { gated: 'containers ready' })
  const second = [excluded('node', 'node1')]
  assert.deepEqual(said(ready, second, 0.5, new Set(['whoami/pod0'])), [])
  ready.apply([put(aPod('pod0', ipOf(0), { nodeName: 'node0', gated: 'containers ready', isUnreachable: true }))])
  assert.deepEqual(said(ready, second), ['whoami/pod0 reachable'])
  ready.apply([put(aPod('pod0', ipOf(0), { nodeName: 'node0', gated: 'containers ready' }))])
  ready.apply([put(aSlice([anEndpoint(ipOf(0), { ready: false }), anEndpoint(ipOf(1))]))])
  assert.deepEqual(said(ready, second), [])
  ready.apply([put(aSlice([anEndpoint(ipOf(0)), anEndpoint(ipOf(1))]))])
  assert.deepEqual(said(ready, second), ['whoami/pod1 node1'])
})

/** What Kubernetes makes of conditions: a Pod with the gate is ready when it is not told of, and slices follow. */
class Kubernetes {
  readonly ready = new ReadyEndpoints()
  readonly #gated: readonly boolean[]
  readonly #services: readonly (readonly number[])[]
  readonly #told = new Set<number>()
  /** What a watch has said of that. */
  #heard: ReadonlySet<number> = new Set()
  #inSlices: ReadonlySet<number> = new Set()

  constructor(gated: readonly boolean[], services: readonly (readonly number[])[]) {
    this.#gated = gated
    this.#services = services
    this.podsHeard()
    this.slicesHeard()
  }

  /** Writes what a control plane wants now, or some of it. */
  write(exclusions: readonly Exclusion[], share: number, most: number): void {
    const wanted = wantedChanges({ exclusions, ready: this.ready, maybeTold: this.#maybeTold(), share })
    for (const { pod, exclusion } of wanted.slice(0, most)) {
      const index = Number(pod.replace('whoami/pod', ''))
      if (exclusion) this.#told.add(index)
      else this.#told.delete(index)
    }
  }

  podsHeard(): void {
    this.ready.apply(
      this.#gated.map((isGated, i) =>
        put(
          aPod(`pod${i}`, ipOf(i), {
            nodeName: `node${i % 3}`,
            ...(isGated && { gated: 'containers ready' }),
            ...(this.#told.has(i) && { isUnreachable: true }),
          }),
        ),
      ),
    )
    this.#heard = new Set(this.#told)
  }

  /** A watch of slices tells nothing of a Pod that one of Pods does not. */
  slicesHeard(): void {
    this.#inSlices = new Set([...this.#gated.keys()].filter(i => !(this.#gated[i] && this.#heard.has(i))))
    this.ready.apply(
      this.#services.map((members, service) => {
        const endpoints = members.map(i => anEndpoint(ipOf(i), { ready: this.#inSlices.has(i) }))
        return put(aSlice(endpoints, { name: `slice-${service}`, service: `service-${service}` }))
      }),
    )
  }

  /** How many endpoints each Service has, and how many are ready once kubelets have caught up. */
  counts(): readonly { readonly all: number; readonly left: number }[] {
    const isReady = (i: number) => this.#inSlices.has(i) && !(this.#gated[i] && this.#told.has(i))
    return this.#services.map(members => ({ all: members.length, left: members.filter(isReady).length }))
  }

  isWhole(): boolean {
    return this.#told.size === 0 && this.counts().every(({ all, left }) => all === left)
  }

  /** Written, and not heard. */
  #maybeTold(): ReadonlySet<string> {
    return new Set([...this.#told].filter(i => !this.#heard.has(i)).map(i => `whoami/pod${i}`))
  }
}

test('whatever is excluded when, no Service is walked down by what follows from it, and all is ready again after', () => {
  const index = fc.nat(7)
  const anyExclusions = fc.array(
    fc.record({ of: fc.constantFrom('node' as const, 'endpoint' as const), index, since: fc.nat(5) }),
  )
  const step = fc.record({
    all: anyExclusions,
    most: fc.nat(4),
    podsHeard: fc.boolean(),
    slicesHeard: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      fc.array(fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 }), { minLength: 1, maxLength: 4 }),
      fc.array(step, { maxLength: 12 }),
      fc.nat(100),
      (gated, services, steps, percent) => {
        const cluster = new Kubernetes(gated, services)
        const check = () => {
          for (const { all, left } of cluster.counts()) {
            assert.ok(left > 0)
            assert.ok(all - left <= (all * percent) / 100, `${left} of ${all} are left`)
          }
        }
        for (const { all, most, podsHeard, slicesHeard } of steps) {
          const exclusions = all.map(({ of, index, since }) =>
            excluded(of, of === 'node' ? `node${index % 3}` : `${ipOf(index)}:8080`, since),
          )
          cluster.write(exclusions, percent / 100, most)
          check()
          if (podsHeard) cluster.podsHeard()
          if (slicesHeard) cluster.slicesHeard()
          check()
        }
        for (let i = 0; i < 2; i++) {
          cluster.write([], percent / 100, 8)
          cluster.podsHeard()
          cluster.slicesHeard()
        }
        assert.ok(cluster.isWhole())
      },
    ),
    { numRuns: 1000 },
  )
})

test('of the replicas the first that lives tells Kubernetes, and none that is no endpoint of the Service', () => {
  const ready = clusterOf(3)
  const self = { service: 'whoami/whoami', port: 8080 }
  const tellers = (exclusions: readonly Exclusion[]) =>
    ['10.244.0.0', '10.244.0.1', '10.244.0.2', '10.244.7.7'].filter(address =>
      isTeller({ ...self, address }, ready, exclusions),
    )
  assert.deepEqual(tellers([]), ['10.244.0.0'])
  // One that finds itself dead cannot be right.
  assert.deepEqual(tellers([excluded('node', 'node0')]), ['10.244.0.0', '10.244.0.1'])
  ready.apply([put(aSlice([anEndpoint('10.244.0.0', { ready: false }), anEndpoint('10.244.0.2')]))])
  assert.deepEqual(tellers([]), ['10.244.0.2'])
})
