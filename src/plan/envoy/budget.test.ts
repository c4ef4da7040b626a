import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { EnvoyBudget, longQuietMs, mostAlways, mostMoves, quietMs } from './budget.ts'

const idOf = (number: number) => `shop/port-${number}/http`
const ids = (count: number) => Array.from({ length: count }, (_, number) => idOf(number))

/** A budget to which the ports of a cluster come, one after the other. */
function budgetWith(limit: number, ports: readonly string[], followsUse = true) {
  const budget = new EnvoyBudget({ limit, followsUse })
  for (const id of ports) budget.has(id, false)
  return budget
}

/** Asking changes nothing of a port that is known. */
const insideOf = (budget: EnvoyBudget, ports: readonly string[]) => ports.filter(id => budget.has(id, false))

/** Steps until nothing moves. */
function settle(budget: EnvoyBudget, calls: ReadonlyMap<string, number>): number {
  let steps = 0
  while (budget.step(calls).length > 0) assert.ok(++steps < 1000, 'ports go on moving')
  return steps
}

describe("the budget of Envoy's ports", () => {
  test('while all ports fit all are in Envoy, whoever is called', () => {
    const budget = budgetWith(3, ids(3))
    assert.equal(budget.isByUse, false)
    assert.deepEqual(insideOf(budget, ids(3)), ids(3))
    assert.deepEqual(budget.step(new Map()), [])
  })

  test('once they do not fit, those leave that nobody calls, and the called ones come', () => {
    const budget = budgetWith(3, ids(4))
    settle(budget, new Map())
    assert.deepEqual(insideOf(budget, ids(4)), [])
    assert.deepEqual(budget.step(new Map([[idOf(3), 1]])), [idOf(3)])
  })

  test('all are promoted again only when a tenth of the budget is free', () => {
    const budget = budgetWith(10, ids(11))
    settle(budget, new Map())
    budget.remove(idOf(0))
    settle(budget, new Map())
    assert.deepEqual(insideOf(budget, ids(11).slice(1)), [])
    budget.remove(idOf(1))
    settle(budget, new Map())
    assert.deepEqual(insideOf(budget, ids(11).slice(2)), ids(11).slice(2))
  })

  test('a port called within the last minute gives way to none, one that was not does', () => {
    const budget = budgetWith(1, ids(2))
    settle(budget, new Map([[idOf(0), 0]]))
    const soon = new Map([
      [idOf(0), 0],
      [idOf(1), quietMs - 1],
    ])
    assert.deepEqual(budget.step(soon), [])
    const later = new Map([
      [idOf(0), 0],
      [idOf(1), quietMs],
    ])
    assert.deepEqual(budget.step(later), [idOf(0), idOf(1)])
  })

  test('none has room where the budget is 0', () => {
    const budget = budgetWith(0, ids(2))
    settle(budget, new Map([[idOf(0), 1]]))
    assert.deepEqual(insideOf(budget, ids(2)), [])
    assert.equal(budget.has(idOf(1), true), false)
  })

  test('who calls many of his own all the time takes no room of those who call fewer now and then', () => {
    const greedy = Array.from({ length: 2000 }, (_, number) => `greedy/port-${number}/http`)
    const budget = budgetWith(1000, [...ids(5), ...greedy])
    const callsAt = (now: number) =>
      new Map([...ids(5).map(id => [id, 0] as const), ...greedy.map(id => [id, now] as const)])
    for (const now of [0, 2 * quietMs, longQuietMs - 1]) settle(budget, callsAt(now))
    assert.deepEqual(insideOf(budget, ids(5)), ids(5))
    settle(budget, callsAt(longQuietMs))
    assert.deepEqual(insideOf(budget, ids(5)), [])
    settle(budget, new Map([...callsAt(longQuietMs), [idOf(0), longQuietMs]]))
    assert.deepEqual(insideOf(budget, ids(5)), [idOf(0)])
  })

  test('nobody takes all of Envoy by saying of many ports that they are always to be there', () => {
    const greedy = Array.from({ length: 3000 }, (_, number) => `greedy/port-${number}/http`)
    const budget = new EnvoyBudget({ limit: 1000, followsUse: true })
    for (const id of greedy) budget.has(id, true)
    for (const id of ids(50)) budget.has(id, false)
    settle(budget, new Map(ids(50).map(id => [id, 1] as const)))
    assert.deepEqual(insideOf(budget, ids(50)), ids(50))
    assert.equal(greedy.filter(id => budget.has(id, true)).length, mostAlways)
  })

  test('ports that are always there, of however many namespaces, leave others half of the room', () => {
    const always = Array.from({ length: 30 }, (_, number) => `space-${number}/port/http`)
    const budget = new EnvoyBudget({ limit: 20, followsUse: true })
    for (const id of always) budget.has(id, true)
    for (const id of ids(15)) budget.has(id, false)
    settle(budget, new Map(ids(15).map(id => [id, 1] as const)))
    assert.equal(insideOf(budget, ids(15)).length, 10)
    assert.equal(always.filter(id => budget.has(id, true)).length, 10)
  })

  test('many namespaces with ports that are always there make room for those of one that has few', () => {
    const greedy = Array.from({ length: 3000 }, (_, number) => `greedy-${number % 100}/port-${number}/http`)
    const budget = new EnvoyBudget({ limit: 1000, followsUse: true })
    for (const id of greedy) budget.has(id, true)
    for (const id of ids(4)) budget.has(id, true)
    settle(budget, new Map())
    assert.equal(budget.inside.length, 500)
    assert.ok(ids(4).every(id => budget.has(id, true)))
  })

  test('a port is always there once another of its namespace no longer is', () => {
    const all = ids(mostAlways + 2)
    const last = all.at(-1)!
    const budget = budgetWith(2 * mostAlways, [...all, ...all.map(id => `other-${id}`)])
    settle(budget, new Map())
    for (const id of all) budget.has(id, true)
    assert.equal(budget.has(last, true), false)
    budget.remove(all[0]!)
    budget.has(all[1]!, false)
    assert.equal(budget.has(last, true), true)
  })

  test('where the kernel records no calls, ports that came first stay and the next ones fill what becomes free', () => {
    const budget = budgetWith(2, ids(4), false)
    settle(budget, new Map())
    assert.deepEqual(insideOf(budget, ids(4)), ids(2))
    budget.remove(idOf(0))
    settle(budget, new Map())
    assert.deepEqual(insideOf(budget, ids(4).slice(1)), [idOf(1), idOf(2)])
  })

  test('after a restart those are there that were in Envoy, and then the ones called last', () => {
    const budget = budgetWith(2, ids(4))
    const calls = new Map(ids(4).map((id, number) => [id, number] as const))
    budget.begin(calls, new Set([idOf(1)]))
    assert.deepEqual(insideOf(budget, ids(4)), [idOf(1), idOf(3)])
  })

  const world = fc.record({
    limit: fc.nat(40),
    count: fc.integer({ min: 1, max: 90 }),
    always: fc.uniqueArray(fc.nat(89), { maxLength: 5 }),
    called: fc.array(fc.tuple(fc.nat(89), fc.nat(20 * quietMs)), { maxLength: 120 }),
  })
  type World = typeof world extends fc.Arbitrary<infer T> ? T : never

  function live({ limit, count, always, called }: World) {
    const all = ids(count)
    const asked = new Set(always.map(idOf))
    // Of what asks to be always there half of the room is; the rest is there by its use.
    const held = new Set(all.filter(id => asked.has(id)).slice(0, Math.ceil(limit / 2)))
    const budget = new EnvoyBudget({ limit, followsUse: true })
    for (const id of all) budget.has(id, asked.has(id))
    const inside = () => all.filter(id => budget.has(id, asked.has(id)))
    const calls = new Map(called.map(([number, at]) => [idOf(number), at] as const).filter(([id]) => all.includes(id)))
    return { all, held, budget, inside, calls }
  }

  test('never more are there than the budget and what is always there, and no step moves more than a few', () => {
    fc.assert(
      fc.property(world, given => {
        const { held, budget, inside, calls } = live(given)
        for (const some of [new Map(), calls, new Map(), calls]) {
          const moved = budget.step(some)
          assert.ok(moved.length <= 2 * mostMoves)
          const there = inside()
          assert.ok(there.length <= given.limit + [...held].filter(id => there.includes(id)).length)
          for (const id of held) if (there.includes(id)) assert.ok(!moved.includes(id))
        }
      }),
    )
  })

  test('it comes to rest while nobody calls anew, with the called ones in, and nobody out for whom one in was quiet', () => {
    fc.assert(
      fc.property(world, given => {
        const { all, held, budget, inside, calls } = live(given)
        settle(budget, calls)
        if (!budget.isByUse) return assert.deepEqual(inside(), all)
        const there = inside()
        const others = there.filter(id => !held.has(id))
        for (const id of others) assert.ok(calls.has(id), `${id} was not called`)
        const oldest = Math.min(...others.map(id => calls.get(id)!))
        for (const id of all) {
          const at = calls.get(id)
          if (at === undefined || there.includes(id)) continue
          assert.ok(there.length >= given.limit, `${id} was called, and there is room`)
          assert.ok(others.length === 0 || oldest + quietMs > at, `${id} was called later than one that is there`)
        }
      }),
    )
  })

  test('who calls many Services of his own does not take the room of others, and at rest no namespace has much more', () => {
    const members = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), members, (limit, counts) => {
        const namespaces = counts.map((count, number) =>
          Array.from({ length: count }, (_, port) => `space-${number}/port-${port}/http`),
        )
        const all = namespaces.flat()
        const budget = new EnvoyBudget({ limit, followsUse: true })
        for (const id of all) budget.has(id, false)
        settle(budget, new Map(all.map(id => [id, 0] as const)))
        if (!budget.isByUse) return
        const shares = namespaces.map(ids => insideOf(budget, ids).length)
        const most = Math.max(...shares)
        for (const [number, share] of shares.entries())
          assert.ok(share === counts[number] || share + 1 >= most, `${shares} of ${counts}`)
      }),
    )
  })

  test('it comes to rest whoever has called what when, of however many namespaces', () => {
    const times = fc.oneof(fc.nat(3 * quietMs), fc.nat(3 * longQuietMs))
    const members = fc.array(fc.array(times, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), members, (limit, spaces) => {
        const calls = new Map(
          spaces.flatMap((times, space) => times.map((at, port) => [`space-${space}/port-${port}/http`, at] as const)),
        )
        settle(budgetWith(limit, [...calls.keys()]), calls)
      }),
      { numRuns: 500 },
    )
  })

  test('ports that are all called all the time do not take turns', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat(quietMs / 2), { maxLength: 50 }),
        (limit, jitter) => {
          const all = ids(limit + 1).map((_, number) => `space-${number % 3}/port-${number}/http`)
          const budget = budgetWith(limit, all)
          let now = 0
          const callsNow = () => new Map(all.map((id, number) => [id, now - (jitter[number] ?? 0)] as const))
          settle(budget, callsNow())
          for (let second = 0; second < 200; second++) {
            now += 1000
            assert.deepEqual(budget.step(callsNow()), [])
          }
        },
      ),
      { numRuns: 20 },
    )
  })
})
