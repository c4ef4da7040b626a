import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { aNamespace, anEndpoint, aPod, aService, aSlice, put, remove } from '../../services/testing.ts'
import { countSteps } from '../../testing/steps.ts'
import { TestPlan } from '../testing.ts'
import { candidatesOf, RememberedCandidates } from './candidates.ts'

const topology = { nodeName: 'node1', zone: undefined }
// Few, so that slices that come and go are like others.
const addresses = ['10.1.0.1', '10.1.0.2']
const anyEndpoint = fc
  .record({ ip: fc.constantFrom(...addresses), ready: fc.boolean(), node: fc.constantFrom('node1', 'node2', 'node3') })
  .map(({ ip, ready, node }) => anEndpoint(ip, { ready, nodeName: node }))
const anySlice = fc
  .record({ name: fc.constantFrom('a', 'b', 'c'), endpoints: fc.array(anyEndpoint, { maxLength: 2 }) })
  .map(({ name, endpoints }) => aSlice(endpoints, { name }))
// Enough that not most of them change. Their addresses are before those, between them, and after them.
const others = Array.from({ length: 40 }, (_, number) => anEndpoint(`10.1.0.${number % 2}${number >> 1}`))
const anyState = fc.record({
  slices: fc
    .uniqueArray(anySlice, { selector: ({ name }) => name, maxLength: 3 })
    .map(slices => [aSlice(others, { name: 'd' }), ...slices]),
  numbers: fc.constantFrom([0, 0, 0, 0], [0, 0, 1, 0], [1, 0, undefined, 0]),
  /** Undefined: there is no bar. */
  barred: fc.option(fc.subarray(addresses), { nil: undefined }),
})

describe('The candidates of a Service that are remembered', () => {
  test('are those that are there, whatever was there before', () => {
    fc.assert(
      fc.property(fc.array(anyState), states => {
        const remembered = new RememberedCandidates()
        let before: readonly string[] | undefined
        for (const { slices, numbers, barred } of states) {
          const bar = barred && (({ ip }: { readonly ip: string }) => judge(barred.includes(ip)))
          if (barred && before) {
            const isDifferent = (ip: string) => barred.includes(ip) !== before!.includes(ip)
            remembered.rejudge(new Set(addresses.filter(isDifferent)))
          }
          before = barred
          const inputs = { slices, topology, bar }
          assert.deepEqual(remembered.of(inputs)(numbers), candidatesOf(inputs)(numbers))
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('are those of the slice of the first name, also of one that comes in the place of another', () => {
    const sliceAt = (name: string, nodeName: string) => aSlice([anEndpoint('10.1.0.1', { nodeName })], { name })
    const remembered = new RememberedCandidates()
    const nodeWith = (last: string) => {
      const slices = [sliceAt('b', 'node2'), sliceAt(last, 'node3')]
      return remembered.of({ slices, topology, bar: undefined })([0, 0])[0]!.source.traits.nodeName
    }
    assert.deepEqual(['c', 'a', 'c'].map(nodeWith), ['node2', 'node3', 'node2'])
  })

  test('are judged again in a namespace whose Namespace goes at the same time', () => {
    const plan = new TestPlan({ knowledge: { tellsPods: true, podRanges: [] }, manyEndpoints: 0 })
    const namespace = aNamespace('whoami')
    const slice = aSlice([anEndpoint('10.1.0.1')])
    plan.tell([put(namespace), put(aService()), put(slice), put(aPod('pod', '10.1.0.1'))])
    assert.equal(plan.get('whoami/whoami/http')!.layer.wants, 'envoy')
    plan.tell([remove(namespace), remove(aPod('pod', '10.1.0.1'))])
    assert.equal(plan.get('whoami/whoami/http')!.layer.wants, 'kernel')
  })

  test('cost a change little of what they cost anew', async () => {
    const slices = Array.from({ length: 50 }, (_, number) => sliceOf(number))
    const changed = slices.with(7, sliceOf(7, false))
    const step = (manyEndpoints: number) => {
      const plan = new TestPlan({ manyEndpoints })
      plan.tell([aService(), ...slices].map(put))
      return countSteps(() => plan.tell([put(changed[7]!)]))
    }
    const [remembered, anew] = [await step(0), await step(Infinity)]
    assert.ok(remembered < anew / 2, `${remembered} steps, and ${anew} anew`)
  })
})

function sliceOf(number: number, ready = true) {
  const endpoints = Array.from({ length: 100 }, (_, last) =>
    anEndpoint(`10.1.${number}.${last}`, last === 3 ? { ready } : {}),
  )
  return aSlice(endpoints, { name: `slice-${number}` })
}

function judge(isBarred: boolean) {
  return isBarred ? { why: 'a test', isLeft: false } : undefined
}
