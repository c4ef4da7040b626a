/** What a review costs, and that it finds what judging everything anew would find. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { judge } from '../../exclusions/judge.ts'
import { encodeVerdict, readVerdict, type Sight } from '../../facts/failures.ts'
import { anEndpoint, aPod, aSlice, put } from '../../services/testing.ts'
import { countSteps } from '../../testing/steps.ts'
import { Failures } from './failures.ts'
import { ReadyEndpoints } from './readyendpoints.ts'

const times = { answerMs: 100, validMs: 1000, settleMs: 0, askMs: 50 }
const endpointOf = (i: number) => `10.244.${i >> 8}.${i & 255}:8080`
const ipOf = (i: number) => endpointOf(i).replace(':8080', '')
const sees = (seen: Sight['seen'], ...endpoints: readonly string[]) =>
  endpoints.map((endpoint): Sight => ({ endpoint, seen, since: 0 }))

/** Each endpoint is on a node of its own. */
function clusterOf(endpoints: number, nodeOf = (i: number) => `host${i}`) {
  const ready = new ReadyEndpoints()
  for (let i = 0; i < endpoints; i++) {
    ready.apply([put(aSlice([anEndpoint(ipOf(i))], { name: `slice-${i}`, namespace: `n${i % 8}` }))])
    ready.apply([put(aPod(`pod-${i}`, ipOf(i), { nodeName: nodeOf(i), namespace: `n${i % 8}` }))])
  }
  return ready
}

test('a review costs what has changed, among many nodes and questions as among few', async () => {
  const stepsWith = async (nodes: number, questions: number) => {
    const failures = new Failures(clusterOf(questions), times)
    const all = Array.from({ length: questions }, (_, i) => endpointOf(i))
    for (let i = 0; i < nodes; i++) failures.report({ node: `node${i}`, sights: sees('answers', ...all) }, 0)
    for (const node of ['node0', 'node1', 'node2']) failures.report({ node, sights: sees('timed out', ...all) }, 0)
    failures.review(0, 0)
    let isFailing = true
    const report = () => {
      isFailing = !isFailing
      failures.report({ node: 'node2', sights: sees(isFailing ? 'timed out' : 'answers', endpointOf(0)) }, 1)
      for (let i = 0; i < 20; i++) failures.review(1, 1)
    }
    report()
    report()
    return await countSteps(report)
  }
  const few = await stepsWith(40, 16)
  for (const [nodes, questions] of [
    [400, 16],
    [40, 128],
  ] as const) {
    assert.ok((await stepsWith(nodes, questions)) < 1.5 * few, `${nodes} nodes, ${questions} questions`)
  }
})

test('exclusions are encoded once for all nodes', async () => {
  const exclusions: readonly Exclusion[] = Array.from({ length: 50 }, (_, i) => ({
    ...{ of: 'endpoint', name: endpointOf(i), failure: 'timed out', since: 5, by: ['a', 'b'], isSilent: i === 0 },
  }))
  const verdictFor = (node: string) => ({ exclusions, validMs: 1000, asked: [node] })
  for (const node of ['a', 'b']) assert.deepEqual(readVerdict(encodeVerdict(verdictFor(node))), verdictFor(node))
  const first = await countSteps(() => encodeVerdict({ ...verdictFor('a'), exclusions: [...exclusions] }))
  const next = await countSteps(() => encodeVerdict(verdictFor('c')))
  assert.ok(4 * next < first, `${first} steps, then ${next}`)
})

const nodes = ['node0', 'node1', 'node2', 'node3', 'node4']
const count = 4
const anySeen = fc.constantFrom<(Sight['seen'] | undefined)[]>(
  'suspected',
  'timed out',
  'refused',
  'answers',
  'not used',
  undefined,
)
const anyStep = fc.record({
  node: fc.constantFrom(...nodes),
  does: fc.constantFrom('says', 'says', 'says', 'is deaf', 'leaves'),
  sees: fc.array(anySeen, { minLength: count, maxLength: count }),
})

test('judging what has changed finds what judging everything finds', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), steps => {
      // Endpoints 0 and 1 are on node0, and 2 on node1; where 3 is nobody knows.
      const nodeOf = (i: number) => `node${i >> 1}`
      const ready = clusterOf(3, nodeOf)
      ready.apply([put(aSlice([anEndpoint(ipOf(3))], { name: 'slice-3' }))])
      const failures = new Failures(ready, times)
      const said = new Map<string, readonly Sight[]>()
      const silent = new Set<string>()
      let expected: readonly Exclusion[] = []
      for (const [i, { node, does, sees: seen }] of steps.entries()) {
        const now = 1000 * (i + 1)
        if (does === 'leaves') {
          failures.left(node)
          said.delete(node)
          silent.delete(node)
        } else if (does === 'says') {
          const sights = seen.flatMap((one, at) => (one ? sees(one, endpointOf(at)) : []))
          failures.report({ node, sights }, now)
          said.set(node, sights)
          silent.delete(node)
        } else if (said.has(node)) {
          failures.verdictFor(node, now - 500)
          silent.add(node)
        }
        failures.review(now, now)
        expected = judgeAll(said, silent, expected, now)
        const byName = (all: readonly Exclusion[]) => [...all].sort((a, b) => (a.name < b.name ? -1 : 1))
        assert.deepEqual(byName(failures.exclusions), byName(expected))
      }

      function judgeAll(
        said: ReadonlyMap<string, readonly Sight[]>,
        silent: ReadonlySet<string>,
        before: readonly Exclusion[],
        now: number,
      ) {
        const speaking = new Set([...said.keys()].filter(node => !silent.has(node)))
        const all = [...said].flatMap(([node, sights]) => sights.map(sight => ({ node, ...sight })))
        const raised = all.filter(({ seen }) => seen !== 'answers' && seen !== 'not used')
        const nodesOf = new Map(raised.map(({ endpoint }) => [endpoint, ready.find(endpoint)!.node]))
        const uses = (node: string, endpoint: string) =>
          !all.some(one => one.node === node && one.endpoint === endpoint && one.seen === 'not used')
        return judge(
          {
            observations: all.flatMap(({ seen, ...one }) =>
              seen === 'suspected' || seen === 'not used' ? [] : { ...one, seen },
            ),
            usersOf: endpoint => new Set([...speaking].filter(node => uses(node, endpoint))),
            nodeOf: nodesOf,
            ...{ speaking, silent },
          },
          before,
          now,
        )
      }
    }),
    { numRuns: 500 },
  )
})
