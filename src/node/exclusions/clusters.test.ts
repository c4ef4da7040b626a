/** Random clusters over time: nodes that lie, are cut off, dead or restarted, and control planes that come and go. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Exclusions } from '../../exclusions/exclusion.ts'
import { leftOut } from '../../exclusions/share.ts'
import type { Sight } from '../../facts/failures.ts'
import { ofHostPort } from '../../net/address.ts'
import { type Faults, noFaults, SimulatedCluster, type SimulatedEndpoint } from './testing.ts'

const nodeNames = Array.from({ length: 8 }, (_, i) => `node${i}`)
const runs = { numRuns: 500 }
/** Until the control plane says exclusions, and long after everybody could have found out. */
const settled = 12

interface Layout {
  readonly nodes: readonly string[]
  readonly endpoints: readonly SimulatedEndpoint[]
}

function layouts(fewestNodes: number, usesAll = false): fc.Arbitrary<Layout> {
  return fc.integer({ min: fewestNodes, max: nodeNames.length }).chain(count => {
    const nodes = nodeNames.slice(0, count)
    const endpoint = fc.record({
      node: fc.constantFrom(...nodes),
      users: usesAll ? fc.constant(nodes) : fc.subarray(nodes),
    })
    const endpoints = fc.array(endpoint, { minLength: 1, maxLength: 8 })
    return endpoints.map(all => ({ nodes, endpoints: all.map((one, i) => ({ ...one, name: `10.244.0.${i}:8080` })) }))
  })
}

const anySights = fc.array(
  fc.constantFrom<(Sight['seen'] | undefined)[]>('timed out', 'refused', 'suspected', 'answers', 'not used', undefined),
  { minLength: 8, maxLength: 8 },
)
const sightsOf = ({ endpoints }: Layout, seens: readonly (Sight['seen'] | undefined)[]): readonly Sight[] =>
  endpoints.flatMap(({ name }, i) => (seens[i] ? [{ endpoint: name, seen: seens[i], since: 0 }] : []))

function run(cluster: SimulatedCluster, ticks: number, faults: Faults, check: () => void = () => undefined): void {
  for (let i = 0; i < ticks; i++) {
    cluster.tick(faults)
    check()
  }
}

test('an agent that lies changes nothing, whatever it says and whoever comes and goes meanwhile', () => {
  fc.assert(
    fc.property(layouts(2), fc.array(anySights, { minLength: 1 }), fc.nat(), (layout, lies, seed) => {
      const cluster = new SimulatedCluster(layout.nodes, layout.endpoints)
      const check = () => assert.deepEqual(cluster.excluded(), [])
      run(cluster, settled, noFaults, check)
      for (const [i, lie] of lies.entries()) {
        run(cluster, 3, { ...noFaults, liars: new Map([['node0', sightsOf(layout, lie)]]) }, check)
        if ((seed >> i) & 1) cluster.restart(layout.nodes.at(-1)!)
        else if ((seed >> i) & 2) cluster.startControlPlane()
      }
    }),
    runs,
  )
})

test('a minority that is cut off has nothing excluded on the other side, on whichever side the control plane is', () => {
  fc.assert(
    fc.property(layouts(3, true), fc.nat(), fc.boolean(), ({ nodes, endpoints }, seed, isWithMost) => {
      const minority = nodes.slice(0, 1 + (seed % (Math.ceil(nodes.length / 2) - 1)))
      const isInside = (node: string) => minority.includes(node)
      const fails: Faults['fails'] = (from, { node }) => (isInside(from) === isInside(node) ? undefined : 'timed out')
      const deaf = nodes.filter(node => isInside(node) === isWithMost)
      const cluster = new SimulatedCluster(nodes, endpoints)
      run(cluster, settled, noFaults)
      run(cluster, 20, { fails, deaf }, () => {
        const there = endpoints.filter(({ node }) => isInside(node) !== isWithMost)
        for (const { name, node } of there) {
          assert.ok(!cluster.excluded().includes(`endpoint ${name}`))
          assert.ok(!cluster.excluded().includes(`node ${node}`))
        }
      })
      run(cluster, 10, noFaults)
      assert.deepEqual(cluster.excluded(), [])
    }),
    runs,
  )
})

test('minutes of 5 % loss have nothing excluded', () => {
  // The chance that four SYNs, or the answers to them, are lost.
  const chance = (1 - 0.95 ** 2) ** 4
  fc.assert(
    fc.property(layouts(2), fc.integer(), ({ nodes, endpoints }, seed) => {
      const random = randomFrom(seed)
      const cluster = new SimulatedCluster(nodes, endpoints)
      const fails = () => (random() < chance ? 'timed out' : undefined)
      run(cluster, 300, { fails }, () => assert.deepEqual(cluster.excluded(), []))
    }),
    { numRuns: 50 },
  )
})

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Dead nodes, of which there are fewer than others, and dead endpoints on any. */
const faulty = layouts(3).chain(layout =>
  fc.record({
    layout: fc.constant(layout),
    dead: fc.subarray([...layout.nodes], { maxLength: Math.ceil(layout.nodes.length / 2) - 1 }),
    refusing: fc.subarray(layout.endpoints.map(({ name }) => name)),
  }),
)

function faultsOf(dead: readonly string[], refusing: readonly string[]): Faults {
  return {
    fails: (_from, { node, name }) =>
      dead.includes(node) ? 'timed out' : refusing.includes(name) ? 'refused' : undefined,
    deaf: dead,
  }
}

/** What living nodes that use it find dead: several of them, or the only one, of a node that is silent. */
function expectedOf({ nodes, endpoints }: Layout, dead: readonly string[], refusing: readonly string[]) {
  const living = nodes.filter(node => !dead.includes(node))
  const usersOf = (some: readonly SimulatedEndpoint[]) =>
    living.filter(node => some.some(({ users }) => users.includes(node)))
  const isEnough = (users: readonly string[], isSilent: boolean) => users.length > 1 || (users.length === 1 && isSilent)
  const on = (node: string) => endpoints.filter(one => one.node === node)
  const deadNodes = dead.filter(node => isEnough(usersOf(on(node)), true))
  const deadEndpoints = endpoints.filter(
    one => !dead.includes(one.node) && refusing.includes(one.name) && isEnough(usersOf([one]), false),
  )
  return [...deadNodes.map(node => `node ${node}`), ...deadEndpoints.map(({ name }) => `endpoint ${name}`)].sort()
}

test('what is dead is excluded in a few seconds and stays so, and what lives again is not', () => {
  fc.assert(
    fc.property(faulty, fc.nat(), ({ layout, dead, refusing }, seed) => {
      const cluster = new SimulatedCluster(layout.nodes, layout.endpoints)
      run(cluster, settled, noFaults)
      const faults = faultsOf(dead, refusing)
      const expected = expectedOf(layout, dead, refusing)
      const isAs = (names: readonly string[]) => () => assert.deepEqual(cluster.excluded(), names)
      run(cluster, 6, faults)
      run(cluster, 10, faults, isAs(expected))
      // Who comes anew takes nothing back, also before it has said anything.
      const living = layout.nodes.filter(node => !dead.includes(node))
      const newcomer = living[seed % living.length]!
      const stays = layout.endpoints.every(({ users }) => !users.includes(newcomer))
      cluster.restart(newcomer)
      run(cluster, 6, faults, stays ? isAs(expected) : undefined)
      run(cluster, 10, faults, isAs(expected))
      run(cluster, 6, noFaults)
      run(cluster, 30, noFaults, isAs([]))
    }),
    runs,
  )
})

test('what most find dead stays excluded while a control plane restarts, and nothing does without one', () => {
  fc.assert(
    fc.property(faulty, fc.integer({ min: 0, max: 10 }), ({ layout, dead, refusing }, awayFor) => {
      const cluster = new SimulatedCluster(layout.nodes, layout.endpoints)
      const faults = faultsOf(dead, refusing)
      const living = layout.nodes.filter(node => !dead.includes(node))
      const isDead = (one: SimulatedEndpoint) => faults.fails('', one) !== undefined
      const usersOf = ({ users }: SimulatedEndpoint) => users.filter(user => living.includes(user)).length
      const check = () => {
        for (const node of living) {
          const excluded = new Exclusions(cluster.excludedAt(node))
          for (const one of layout.endpoints) {
            const isExcluded = excluded.of(ofHostPort(one.name).ip, 8080, 'TCP', one.node) !== undefined
            // A dead node is silent to whom it spoke before: another control plane needs two that say so.
            if (isDead(one) && usersOf(one) > 1) assert.ok(isExcluded)
            if (!isDead(one)) assert.ok(!isExcluded)
          }
        }
      }
      run(cluster, settled, noFaults)
      run(cluster, 8, faults)
      cluster.stopControlPlane()
      run(cluster, awayFor, faults, check)
      cluster.startControlPlane()
      run(cluster, 15, faults, check)
      cluster.stopControlPlane()
      run(cluster, 30, faults)
      for (const node of layout.nodes) assert.deepEqual(cluster.excludedAt(node), [])
    }),
    runs,
  )
})

test('whatever happens, no Service port loses its last endpoint or more than its share', () => {
  const anyPhase = fc.record({
    dead: fc.subarray(nodeNames),
    refusing: fc.subarray(Array.from({ length: 8 }, (_, i) => `10.244.0.${i}:8080`)),
    liars: fc.dictionary(fc.constantFrom(...nodeNames), anySights),
    event: fc.constantFrom('none', 'restart', 'control plane'),
  })
  const anyPorts = fc.array(fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 }), { maxLength: 4 })
  fc.assert(
    fc.property(layouts(2), fc.array(anyPhase), anyPorts, fc.nat(100), (layout, phases, ports, percent) => {
      const cluster = new SimulatedCluster(layout.nodes, layout.endpoints)
      const check = () => {
        for (const node of layout.nodes) {
          const excluded = new Exclusions(cluster.excludedAt(node))
          for (const port of ports) {
            const endpoints = port.flatMap(i => layout.endpoints[i] ?? [])
            const left = leftOut(
              endpoints,
              ({ name, node: on }) => excluded.of(ofHostPort(name).ip, 8080, 'TCP', on),
              percent / 100,
            )
            assert.ok(left.size < Math.max(1, endpoints.length))
            assert.ok(left.size <= (endpoints.length * percent) / 100)
          }
        }
      }
      run(cluster, settled, noFaults)
      for (const { dead, refusing, liars, event } of phases) {
        const lies = Object.entries(liars).map(([node, seens]) => [node, sightsOf(layout, seens)] as const)
        run(cluster, 4, { ...faultsOf(dead, refusing), liars: new Map(lies) }, check)
        if (event === 'restart') cluster.restart(layout.nodes[0]!)
        if (event === 'control plane') cluster.startControlPlane()
      }
    }),
    { numRuns: 300 },
  )
})
