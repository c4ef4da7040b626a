/** Random clusters, whose nodes tell the truth, lie, are cut off or are dead. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Exclusion, Exclusions } from './exclusion.ts'
import { type Evidence, judge } from './judge.ts'
import type { Observation } from './observation.ts'
import { leftOut } from './share.ts'

interface Endpoint {
  readonly ip: string
  readonly port: number
  readonly node: string
  readonly users: readonly string[]
}

interface Cluster {
  readonly nodes: readonly string[]
  readonly endpoints: readonly Endpoint[]
  /** Each the endpoints of a Service port, by index. */
  readonly ports: readonly (readonly number[])[]
}

const nodeNames = Array.from({ length: 12 }, (_, i) => `node${i}`)
const nameOf = ({ ip, port }: Endpoint) => `${ip}:${port}`
const seens = ['timed out', 'refused', 'reset', 'gateway error', 'slow', 'answers'] as const
const runs = { numRuns: 3000 }

function clusters(fewestNodes: number, usesAll: boolean): fc.Arbitrary<Cluster> {
  return fc.integer({ min: fewestNodes, max: nodeNames.length }).chain(count => {
    const nodes = nodeNames.slice(0, count)
    const endpoint = fc.record({
      node: fc.constantFrom(...nodes),
      users: usesAll ? fc.constant(nodes) : fc.subarray(nodes),
    })
    return fc.array(endpoint, { minLength: 1, maxLength: 12 }).chain(all =>
      fc.record({
        nodes: fc.constant(nodes),
        endpoints: fc.constant(all.map((one, i) => ({ ...one, ip: `10.244.0.${i}`, port: 8080 }))),
        ports: fc.array(fc.subarray([...all.keys()], { minLength: 1 }), { maxLength: 4 }),
      }),
    )
  })
}

type See = (from: string, endpoint: Endpoint) => Observation['seen'] | undefined

function evidenceOf({ nodes, endpoints }: Cluster, silent: readonly string[], see: See): Evidence {
  const users = new Map(endpoints.map(endpoint => [nameOf(endpoint), new Set(endpoint.users)]))
  return {
    observations: endpoints.flatMap(endpoint =>
      nodes.flatMap(node => {
        const seen = see(node, endpoint)
        return seen === undefined ? [] : { node, endpoint: nameOf(endpoint), seen, since: 0 }
      }),
    ),
    usersOf: endpoint => users.get(endpoint) ?? new Set(),
    nodeOf: new Map(endpoints.map(endpoint => [nameOf(endpoint), endpoint.node])),
    speaking: new Set(nodes.filter(node => !silent.includes(node))),
    silent: new Set(silent),
  }
}

const anySight = fc.constantFrom(...seens, undefined)

test('a node that lies can have nothing excluded while the others tell the truth', () => {
  fc.assert(
    fc.property(clusters(2, false), fc.array(anySight, { minLength: 12, maxLength: 12 }), (cluster, lies) => {
      const see: See = (from, endpoint) => (from === 'node0' ? lies[cluster.endpoints.indexOf(endpoint)] : 'answers')
      assert.deepEqual(judge(evidenceOf(cluster, [], see), [], 1), [])
    }),
    runs,
  )
})

test('nodes that are cut off from most have nothing excluded among these', () => {
  fc.assert(
    fc.property(clusters(3, true), fc.nat(), (cluster, seed) => {
      const most = Math.ceil(cluster.nodes.length / 2) - 1
      const minority = cluster.nodes.slice(0, seed % (most + 1))
      const isInside = (node: string) => minority.includes(node)
      const see: See = (from, { node }) => (isInside(from) === isInside(node) ? 'answers' : 'timed out')
      // The judge hears all, or is cut off with the minority.
      const byAll = judge(evidenceOf(cluster, [], see), [], 1)
      const insiders = new Set(cluster.endpoints.filter(({ node }) => isInside(node)).map(nameOf))
      for (const { of, name } of byAll) assert.ok(of === 'endpoint' && insiders.has(name), `${of} ${name}`)
      const others = cluster.nodes.filter(node => !isInside(node))
      assert.deepEqual(judge(evidenceOf(cluster, others, see), [], 1), [])
    }),
    runs,
  )
})

test('whoever says what, and whatever was excluded, no Service port loses its last endpoint or more than its share', () => {
  const sights = fc.array(anySight, { minLength: 144, maxLength: 144 })
  fc.assert(
    fc.property(
      clusters(2, false),
      sights,
      fc.subarray(nodeNames),
      fc.integer({ min: 0, max: 100 }),
      (cluster, seen, silent, percent) => {
        const { nodes, endpoints, ports } = cluster
        const see: See = (from, endpoint) => seen[12 * endpoints.indexOf(endpoint) + nodes.indexOf(from)]
        const evidence = evidenceOf(
          cluster,
          silent.filter(node => nodes.includes(node)),
          see,
        )
        const earlier: Exclusion[] = nodes
          .slice(0, percent % nodes.length)
          .map((name, since) => ({ of: 'node', name, failure: 'timed out', since, by: [], isSilent: true }))
        const excluded = new Exclusions(judge(evidence, earlier, 100))
        for (const indexes of ports) {
          const of = indexes.map(index => endpoints[index]!)
          const left = leftOut(of, ({ ip, port, node }) => excluded.of(ip, port, 'TCP', node), percent / 100)
          assert.ok(left.size < of.length)
          assert.ok(left.size <= (of.length * percent) / 100)
        }
      },
    ),
    runs,
  )
})

test('a node that is dead is excluded by those that use endpoints on it, and nothing else is', () => {
  fc.assert(
    fc.property(clusters(3, false), cluster => {
      const dead = 'node0'
      const see: See = (from, { node, users }) => {
        if (from === dead || !users.includes(from)) return undefined
        return node === dead ? 'timed out' : 'answers'
      }
      const excluded = judge(evidenceOf(cluster, [dead], see), [], 1)
      const uses = cluster.endpoints.some(({ node, users }) => node === dead && users.some(user => user !== dead))
      assert.deepEqual(
        excluded.map(({ of, name }) => `${of} ${name}`),
        uses ? ['node node0'] : [],
      )
    }),
    runs,
  )
})

const cluster: Cluster = {
  nodes: ['a', 'b', 'c', 'd', 'e'],
  endpoints: [{ ip: '10.244.0.1', port: 8080, node: 'e', users: ['a', 'b', 'c', 'd'] }],
  ports: [],
}
const seenBy =
  (sight: Observation['seen'], ...nodes: readonly string[]): See =>
  from =>
    nodes.includes(from) ? sight : undefined
const excludedWith = (see: See, { silent = [] as string[], before = [] as readonly Exclusion[], now = 1 } = {}) =>
  judge(evidenceOf(cluster, silent, see), before, now)

test('more than half of the users of an endpoint have it excluded, and half of those that say what they see keep it so', () => {
  assert.deepEqual(excludedWith(seenBy('timed out', 'a', 'b')), [])
  const before = excludedWith(seenBy('timed out', 'a', 'b', 'c'))
  assert.deepEqual(before, [
    {
      of: 'endpoint',
      name: '10.244.0.1:8080',
      failure: 'timed out',
      since: 1,
      by: ['a', 'b', 'c'],
      isSilent: false,
    },
  ])
  const half: See = from => (from === 'e' ? undefined : from < 'c' ? 'timed out' : 'answers')
  const [still] = excludedWith(half, { before, now: 2 })
  assert.deepEqual([still?.since, still?.by], [1, ['a', 'b']])
  assert.deepEqual(
    excludedWith(from => (from === 'a' ? 'timed out' : 'answers'), { before }),
    [],
  )
})

test('an exclusion does not end since a node has come that has said nothing yet', () => {
  const before = excludedWith(seenBy('timed out', 'a', 'b', 'c'))
  const some = { ...cluster, endpoints: [{ ...cluster.endpoints[0]!, users: [...'abcdefgh'] }], nodes: [...'abcdefgh'] }
  assert.equal(judge(evidenceOf(some, [], seenBy('timed out', 'a', 'b', 'c')), before, 2).length, 1)
})

test('one of two nodes keeps nothing excluded', () => {
  const before = excludedWith(seenBy('timed out', 'a', 'b', 'c'))
  const two = { ...cluster, endpoints: [{ ...cluster.endpoints[0]!, users: ['a', 'b'] }] }
  const see: See = from => (from === 'a' ? 'timed out' : from === 'b' ? 'answers' : undefined)
  for (const silent of [[], ['e']]) assert.deepEqual(judge(evidenceOf(two, silent, see), before, 2), [])
})

test('the only user of an endpoint has it excluded where the node of the endpoint is silent, too', () => {
  const alone = { ...cluster, endpoints: [{ ...cluster.endpoints[0]!, users: ['a'] }] }
  const see = seenBy('refused', 'a')
  assert.deepEqual(judge(evidenceOf(alone, [], see), [], 1), [])
  const [one] = judge(evidenceOf(alone, ['e'], see), [], 1)
  assert.deepEqual([one?.of, one?.name, one?.by, one?.isSilent], ['endpoint', '10.244.0.1:8080', ['a'], true])
})

test('endpoints that refuse leave their node in, and requests that fail leave endpoints in', () => {
  const all = ['a', 'b', 'c', 'd']
  assert.equal(excludedWith(seenBy('refused', ...all), { silent: ['e'] })[0]?.of, 'endpoint')
  assert.equal(excludedWith(seenBy('timed out', ...all), { silent: ['e'] })[0]?.of, 'node')
  for (const sight of ['reset', 'gateway error', 'slow'] as const) {
    assert.deepEqual(excludedWith(seenBy(sight, ...all), { silent: ['e'] }), [])
  }
})

test('without observations nothing is excluded, or any longer', () => {
  const before = excludedWith(seenBy('timed out', 'a', 'b', 'c'))
  assert.deepEqual(
    excludedWith(() => undefined, { before }),
    [],
  )
  const gone = { ...evidenceOf(cluster, [], seenBy('timed out', 'a', 'b', 'c')), nodeOf: new Map() }
  assert.deepEqual(judge(gone, before, 2), [])
})

test('where most nodes are silent, what is excluded stays so', () => {
  const before = excludedWith(seenBy('timed out', 'a', 'b', 'c'))
  assert.deepEqual(
    excludedWith(() => undefined, { before, silent: ['b', 'c', 'd'] }),
    before,
  )
})

test('of an excluded node it is the endpoint that stays excluded once the node speaks', () => {
  const see = seenBy('timed out', 'a', 'b', 'c', 'd')
  const before = excludedWith(see, { silent: ['e'] })
  assert.deepEqual(
    excludedWith(see, { before }).map(({ of }) => of),
    ['endpoint'],
  )
})

test('where not all may be left out, those are that were excluded first', () => {
  const exclusions = [3, 1, 2].map(since => ({ since }) as Exclusion)
  const left = leftOut([0, 1, 2, 9], i => exclusions[i], 0.5)
  assert.deepEqual([...left.keys()], [1, 2])
})
