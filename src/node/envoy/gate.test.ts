import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type ResourceRef, typeUrls } from '../../envoy/resource.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import { OverlayGate } from './gate.ts'

const vip = (last: number): VipPort => ({ ip: `10.96.0.${last}`, port: 80 })
const needs = (id: string): readonly ResourceRef[] => [
  { typeUrl: typeUrls.cluster, name: id },
  { typeUrl: typeUrls.listener, name: id },
]

/** A gate with the kernel's set as it would be, and what Envoy has acknowledged. */
function setUp() {
  const acknowledged = new Set<string>()
  const kernel = new Set<string>()
  const gate = new OverlayGate({
    settleMs: 0,
    isReady: ({ typeUrl, name }, isUp) =>
      acknowledged.has(`${typeUrl} ${name}`) && (isUp || !acknowledged.has(`old ${name}`)),
    move: (vips, up) => {
      for (const { ip } of vips) up ? kernel.add(ip) : kernel.delete(ip)
    },
    clear: () => kernel.clear(),
  })
  const acknowledge = (id: string, refs = needs(id)) => {
    for (const { typeUrl, name } of refs) acknowledged.add(`${typeUrl} ${name}`)
    gate.check(id)
  }
  return { gate, kernel, acknowledge, acknowledged }
}

const settled = () => new Promise(resolve => setTimeout(resolve, 5))

describe('the overlay gate', () => {
  test('moves a port up only when Envoy has acknowledged all that it needs', async () => {
    const { gate, kernel, acknowledge } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1)], needs('a'))
    acknowledge('a', needs('a').slice(0, 1))
    await settled()
    assert.equal(kernel.size, 0)
    acknowledge('a')
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })
  test('asks for more before a port goes up than for it to stay there', async () => {
    const { gate, kernel, acknowledge, acknowledged } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1)], needs('a'))
    acknowledged.add('old a')
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 0)
    acknowledged.delete('old a')
    gate.check('a')
    await settled()
    acknowledged.add('old a')
    gate.checkLoss('a')
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })

  test('moves nothing up while Envoy does not answer, and all that is acknowledged when it does', async () => {
    const { gate, kernel, acknowledge } = setUp()
    gate.want('a', [vip(1)], needs('a'))
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 0)
    gate.setAlive(true)
    await settled()
    assert.equal(kernel.size, 1)
  })
  test('empties the overlay when Envoy stops answering', async () => {
    const { gate, kernel, acknowledge } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1)], needs('a'))
    acknowledge('a')
    await settled()
    gate.setAlive(false)
    assert.equal(kernel.size, 0)
    assert.equal(gate.isUp('a'), false)
  })
  test('does not move a port up that is no longer wanted when it has settled', async () => {
    const { gate, kernel, acknowledge } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1)], needs('a'))
    acknowledge('a')
    assert.equal(gate.unwant('a'), false)
    await settled()
    assert.equal(kernel.size, 0)
  })
  test('moves a port down when Envoy has lost what it needs, and up again with it', async () => {
    const { gate, kernel, acknowledge, acknowledged } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1)], needs('a'))
    acknowledge('a')
    await settled()
    gate.checkLoss('a')
    assert.equal(kernel.size, 1)
    acknowledged.clear()
    gate.checkLoss('a')
    assert.equal(kernel.size, 0)
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 1)
  })
  test('keeps what a previous run left until Envoy has reported, and drops what it did not confirm', () => {
    const { gate, kernel, acknowledge } = setUp()
    for (const last of [1, 2, 3]) kernel.add(vip(last).ip)
    gate.inherit([vip(1), vip(2), vip(3)])
    gate.want('a', [vip(1)], needs('a'))
    gate.want('b', [vip(2)], needs('b'))
    gate.dropUnwanted()
    assert.deepEqual([...kernel], ['10.96.0.1', '10.96.0.2'])
    gate.setAlive(true)
    acknowledge('a')
    gate.dropUnconfirmed()
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })
})

describe('a port with several VIP:ports', () => {
  test('moves as one, and comes down before it moves up with others', async () => {
    const { gate, kernel, acknowledge } = setUp()
    gate.setAlive(true)
    gate.want('a', [vip(1), vip(2)], needs('a'))
    acknowledge('a')
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.1', '10.96.0.2'])
    gate.want('a', [vip(2), vip(3)], needs('a'))
    assert.equal(kernel.size, 0)
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.2', '10.96.0.3'])
    gate.unwant('a')
    assert.equal(kernel.size, 0)
  })
  test('keeps what a previous run left where that is all of it', async () => {
    for (const [left, kept] of [
      [
        [1, 2],
        [1, 2],
      ],
      [[1], []],
    ] as const) {
      const { gate, kernel, acknowledge } = setUp()
      for (const last of left) kernel.add(vip(last).ip)
      gate.inherit(left.map(vip))
      gate.want('a', [vip(1), vip(2)], needs('a'))
      assert.deepEqual(
        [...kernel],
        kept.map(last => vip(last).ip),
      )
      gate.setAlive(true)
      acknowledge('a')
      await settled()
      gate.dropUnconfirmed()
      assert.equal(kernel.size, 2)
    }
  })
})

describe('for all histories', () => {
  const id = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('want', 'unwant', 'acknowledge', 'lose') as fc.Arbitrary<string>, id }),
    fc.record({ do: fc.constantFrom('dead', 'alive'), id }),
  )
  test('the kernel has exactly the ports that are up, all of them wanted and acknowledged when they moved', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.array(fc.boolean()), async (steps, pauses) => {
        const { gate, kernel, acknowledge, acknowledged } = setUp()
        const wanted = new Set<string>()
        const ever = new Set<string>()
        for (const [i, { do: what, id: name }] of steps.entries()) {
          if (what === 'want') {
            wanted.add(name)
            gate.want(name, [vip(name.charCodeAt(0))], needs(name))
          } else if (what === 'unwant') {
            wanted.delete(name)
            gate.unwant(name)
          } else if (what === 'acknowledge') {
            ever.add(name)
            acknowledge(name)
          } else if (what === 'lose') for (const ref of needs(name)) acknowledged.delete(`${ref.typeUrl} ${ref.name}`)
          else gate.setAlive(what === 'alive')
          if (pauses[i]) await settled()
          const up = ['a', 'b', 'c'].filter(candidate => gate.isUp(candidate))
          assert.deepEqual([...kernel].sort(), up.map(candidate => vip(candidate.charCodeAt(0)).ip).sort())
          for (const candidate of up) assert.ok(wanted.has(candidate) && ever.has(candidate))
        }
        gate.stop()
      }),
      { numRuns: 50 },
    )
  })
})
