import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Balanced } from './balanced.ts'

const endpoint = (n: number) => ({ ip: `10.244.1.${n}`, port: 80 })
const port = { id: 'shop/web/http', endpoints: [endpoint(1), endpoint(2)], spillOver: [endpoint(3)] }

/** @param tries of the three endpoints by now */
function balanced() {
  const world = { now: 0, tries: [0, 0, 0], readings: 0 }
  const reading = new Balanced({
    ports: () => [port, { id: 'shop/idle/http', endpoints: [endpoint(4)] }],
    latencies: endpoints => {
      world.readings++
      const known = { ms: 4, failing: 0, failures: 0, seenMsAgo: 0 }
      const seen = endpoints.slice(0, 3).map(({ ip }, n) => [`${ip}:80`, { ...known, tries: world.tries[n]! }] as const)
      return new Map(seen)
    },
    now: () => world.now,
  })
  const requests = () => {
    const [{ endpoints, spillOver }, ...others] = reading.read() as [ReturnType<typeof reading.read>[number]]
    assert.deepEqual(others, [], 'a port without requests has no series')
    return [...endpoints, ...spillOver].map(({ requests }) => requests)
  }
  return { world, requests }
}

test('requests are those of the last 15 to 30 s, however often somebody asks', () => {
  const { world, requests } = balanced()
  assert.deepEqual(requests(), [0, 0, 0])
  for (let second = 1; second <= 60; second++) {
    world.now = second * 1000
    world.tries = [second * 10, second * 5, second]
    const [first, second_, far] = requests() as [number, number, number]
    assert.ok(second < 31 || (first >= 150 && first <= 310), `${first} at ${second} s`)
    assert.deepEqual([second_, far], [first / 2, first / 10])
  }
})

test('the metrics of one page have one reading, and a table that began anew counts from nothing', () => {
  const { world, requests } = balanced()
  world.tries = [100, 100, 100]
  requests()
  requests()
  assert.equal(world.readings, 1)
  Object.assign(world, { now: 1000, tries: [1, 2, 3] })
  assert.deepEqual(requests(), [0, 0, 0])
})
