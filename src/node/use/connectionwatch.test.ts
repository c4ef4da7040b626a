import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionWatch } from './connectionwatch.ts'

test('ports are held back well before Envoy is full, and again only when there are many more connections', async () => {
  let total = 0
  let others = 0
  let counted = 0
  const relieved: number[] = []
  const watch = new ConnectionWatch({
    limit: () => 1000,
    sockets: async () => total + others,
    connections: async () => {
      counted++
      return { total, byPort: new Map() }
    },
    onMany: found => relieved.push(found.total),
  })
  const probe = async (now: number, ofOthers = 0) => {
    total = now
    others = ofOthers
    await watch.probe()
  }
  await probe(500)
  assert.equal(counted, 0)
  await probe(500, 1000)
  assert.deepEqual([counted, relieved], [1, []])
  for (const now of [600, 610, 690, 700, 700, 650]) await probe(now)
  assert.deepEqual(relieved, [600, 700])
  await probe(750)
  assert.deepEqual(relieved, [600, 700, 750])
  await probe(500)
  await probe(650)
  assert.deepEqual(relieved, [600, 700, 750, 650])
})

test('without an Envoy nothing is counted', async () => {
  const fail = () => assert.fail('counted')
  await new ConnectionWatch({ limit: () => undefined, sockets: fail, connections: fail, onMany: fail }).probe()
})
