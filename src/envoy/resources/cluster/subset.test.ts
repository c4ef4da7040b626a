import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { compareEndpoints, type Endpoint } from '../../../plan/ports/port.ts'
import { EndpointSubsets } from './subset.ts'

const endpoint = (number: number): Endpoint => ({
  ip: `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`,
  port: 8080,
})
const subsetOf = (endpoints: readonly Endpoint[], endpointsPerPort: number, nodeName: string) =>
  new EndpointSubsets({ endpointsPerPort, nodeName }).subsetOf(endpoints)
const range = (count: number) => Array.from({ length: count }, (_, number) => number)

describe("the part of a port's endpoints that a node's Envoy has", () => {
  const world = fc.record({
    numbers: fc.uniqueArray(fc.nat(100_000), { minLength: 1, maxLength: 60 }),
    most: fc.integer({ min: 1, max: 40 }),
    node: fc.string({ maxLength: 20 }),
  })

  test('all are in it if there are no more than the limit, or no limit', () => {
    fc.assert(
      fc.property(world, ({ numbers, node }) => {
        const all = numbers.map(endpoint)
        assert.equal(subsetOf(all, all.length, node), all)
        assert.equal(subsetOf(all, 0, node), all)
      }),
    )
  })

  test('as many as the limit are in it, in the order in which they came, and the same each time', () => {
    fc.assert(
      fc.property(world, ({ numbers, most, node }) => {
        const all = numbers.map(endpoint)
        const part = subsetOf(all, most, node)
        assert.equal(part.length, Math.min(most, all.length))
        assert.deepEqual(
          part,
          all.filter(one => part.includes(one)),
        )
        const again = subsetOf(all.toReversed(), most, node)
        assert.deepEqual(new Set(again), new Set(part))
      }),
    )
  })

  test('an endpoint that comes or goes changes one of it at most', () => {
    fc.assert(
      fc.property(world, fc.nat(59), ({ numbers, most, node }, position) => {
        const all = numbers.map(endpoint)
        const fewer = all.filter((_, index) => index !== position)
        const [before, after] = [subsetOf(fewer, most, node), subsetOf(all, most, node)]
        assert.ok(before.filter(one => !after.includes(one)).length <= 1)
        assert.ok(after.filter(one => !before.includes(one)).length <= 1)
      }),
    )
  })

  test('is the same whatever was there before, and the same list while it has the same endpoints', () => {
    const step = fc.record({ isThere: fc.func(fc.boolean()), isNew: fc.func(fc.boolean()) })
    fc.assert(
      fc.property(world, fc.array(step), ({ numbers, most, node }, steps) => {
        const subsets = new EndpointSubsets({ endpointsPerPort: most, nodeName: node })
        let all = numbers.map(endpoint).sort(compareEndpoints)
        let part: readonly Endpoint[] | undefined
        for (const { isThere, isNew } of steps) {
          all = all.map(one => (isNew(one.ip) ? { ...one } : one))
          const now = all.filter(one => isThere(one.ip))
          const before = part
          part = subsets.subsetOf(now, before)
          const anew = subsetOf(now, most, node)
          assert.deepEqual(part, anew)
          if (before && anew !== now && isDeepStrictEqual(before, anew)) assert.equal(part, before)
        }
      }),
    )
  })

  test('is the same list when the first one beyond the limit comes and is not in it', () => {
    const subsets = new EndpointSubsets({ endpointsPerPort: 4, nodeName: 'node1' })
    const all = range(5).map(endpoint)
    const known = subsetOf(all, 4, 'node1').slice()
    assert.equal(subsets.subsetOf(all, known), known)
  })

  test('of endpoints with the same score the first ones are in it', () => {
    const same = range(10).map(() => endpoint(1))
    const part = subsetOf(same, 4, 'node1')
    assert.ok(part.every((one, index) => one === same[index]))
    assert.equal(part.length, 4)
  })

  test('over all nodes each endpoint has an even share', () => {
    const all = range(50).map(endpoint)
    const counts = new Map<Endpoint, number>()
    const nodes = 10_000
    for (const node of range(nodes))
      for (const one of subsetOf(all, 20, `ip-10-0-${node >> 8}-${node & 255}.internal`))
        counts.set(one, (counts.get(one) ?? 0) + 1)
    const share = (nodes * 20) / all.length
    for (const one of all) {
      const ratio = counts.get(one)! / share
      assert.ok(ratio > 0.9 && ratio < 1.1, `${one.ip}: ${ratio}`)
    }
  })
})
