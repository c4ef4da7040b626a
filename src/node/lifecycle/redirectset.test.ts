import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type ResourceRef, typeUrls } from '../../envoy/resource.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import { Lifecycle } from './lifecycle.ts'
import { RedirectSet } from './redirectset.ts'

const vip = (last: number): VipPort => ({ ip: `10.96.0.${last}`, port: 80 })
const needs = (id: string): readonly ResourceRef[] => [
  { typeUrl: typeUrls.cluster, name: id },
  { typeUrl: typeUrls.listener, name: id },
]

/** The kernel's set as it would be, and what Envoy has acknowledged. */
function setUp() {
  const acknowledged = new Set<string>()
  const kernel = new Set<string>()
  const lives = new Map<string, Lifecycle>()
  const redirects = new RedirectSet(
    {
      settleMs: 0,
      isReady: ({ typeUrl, name }, isRedirected) =>
        acknowledged.has(`${typeUrl} ${name}`) && (isRedirected || !acknowledged.has(`old ${name}`)),
      move: (addresses, isRedirected) => {
        for (const { ip } of addresses) isRedirected ? kernel.add(ip) : kernel.delete(ip)
      },
      clear: () => kernel.clear(),
    },
    () => lives.values(),
  )
  const lifeOf = (id: string) => {
    const life = lives.get(id) ?? new Lifecycle(id)
    lives.set(id, life)
    return life
  }
  const publish = (id: string, addresses: readonly VipPort[]) => {
    lifeOf(id).on('wanted')
    redirects.published(lifeOf(id), { addresses, needs: needs(id) })
  }
  const acknowledge = (id: string, refs = needs(id)) => {
    for (const { typeUrl, name } of refs) acknowledged.add(`${typeUrl} ${name}`)
    redirects.check(lifeOf(id))
  }
  return { redirects, kernel, lifeOf, publish, acknowledge, acknowledged }
}

const settled = () => new Promise(resolve => setTimeout(resolve, 5))

describe('the redirect set', () => {
  test('promotes a frontend only when Envoy has acknowledged everything that it needs', async () => {
    const { redirects, kernel, publish, acknowledge } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1)])
    acknowledge('a', needs('a').slice(0, 1))
    await settled()
    assert.equal(kernel.size, 0)
    acknowledge('a')
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })
  test('asks for more before a frontend is promoted than for it to stay so', async () => {
    const { redirects, kernel, lifeOf, publish, acknowledge, acknowledged } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1)])
    acknowledged.add('old a')
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 0)
    acknowledged.delete('old a')
    redirects.check(lifeOf('a'))
    await settled()
    acknowledged.add('old a')
    redirects.checkLoss(lifeOf('a'))
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })

  test('promotes nothing while Envoy does not answer, and everything acknowledged when it does', async () => {
    const { redirects, kernel, publish, acknowledge } = setUp()
    publish('a', [vip(1)])
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 0)
    redirects.setAlive(true)
    await settled()
    assert.equal(kernel.size, 1)
  })
  test('empties the overlay when Envoy stops answering', async () => {
    const { redirects, kernel, lifeOf, publish, acknowledge } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1)])
    acknowledge('a')
    await settled()
    redirects.setAlive(false)
    assert.equal(kernel.size, 0)
    assert.equal(lifeOf('a').isRedirected, false)
  })
  test('does not promote a settled frontend that is no longer wanted', async () => {
    const { redirects, kernel, lifeOf, publish, acknowledge } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1)])
    acknowledge('a')
    redirects.withdraw(lifeOf('a'), 'unwanted')
    await settled()
    assert.equal(kernel.size, 0)
  })
  test('demotes a frontend when Envoy has lost what it needs, and promotes it again when that is back', async () => {
    const { redirects, kernel, lifeOf, publish, acknowledge, acknowledged } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1)])
    acknowledge('a')
    await settled()
    redirects.checkLoss(lifeOf('a'))
    assert.equal(kernel.size, 1)
    acknowledged.clear()
    redirects.checkLoss(lifeOf('a'))
    assert.equal(kernel.size, 0)
    acknowledge('a')
    await settled()
    assert.equal(kernel.size, 1)
  })
  test('keeps what a previous run left until Envoy has reported, and drops what it did not confirm', () => {
    const { redirects, kernel, publish, acknowledge } = setUp()
    for (const last of [1, 2, 3]) kernel.add(vip(last).ip)
    redirects.inherit([vip(1), vip(2), vip(3)])
    // As the kernel layer does where a Service goes, and comes back.
    kernel.delete(vip(1).ip)
    publish('a', [vip(1)])
    publish('b', [vip(2)])
    redirects.dropUnwanted()
    assert.deepEqual([...kernel].sort(), ['10.96.0.1', '10.96.0.2'])
    redirects.setAlive(true)
    acknowledge('a')
    redirects.dropUnconfirmed()
    assert.deepEqual([...kernel], ['10.96.0.1'])
  })
  test('drops what a previous run redirected to another listener, before it promotes the frontend to its own', async () => {
    const { redirects, kernel, publish, acknowledge } = setUp()
    for (const last of [1, 2]) kernel.add(vip(last).ip)
    redirects.inherit([vip(1), { ...vip(2), isShared: true }])
    redirects.setAlive(true)
    for (const last of [1, 2]) publish(`a${last}`, [{ ...vip(last), isShared: true }])
    assert.deepEqual([...kernel], ['10.96.0.2'])
    for (const last of [1, 2]) acknowledge(`a${last}`)
    await settled()
    redirects.dropUnconfirmed()
    assert.deepEqual([...kernel], ['10.96.0.2', '10.96.0.1'])
  })
})

describe('a port with several VIP:ports', () => {
  test('is promoted as one, and demoted before it is promoted with others', async () => {
    const { redirects, kernel, lifeOf, publish, acknowledge } = setUp()
    redirects.setAlive(true)
    publish('a', [vip(1), vip(2)])
    acknowledge('a')
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.1', '10.96.0.2'])
    publish('a', [vip(2), vip(3)])
    assert.equal(kernel.size, 0)
    await settled()
    assert.deepEqual([...kernel], ['10.96.0.2', '10.96.0.3'])
    redirects.withdraw(lifeOf('a'), 'unwanted')
    assert.equal(kernel.size, 0)
  })
  test('keeps what a previous run left if that is all of it', async () => {
    for (const [left, kept] of [
      [
        [1, 2],
        [1, 2],
      ],
      [[1], []],
    ] as const) {
      const { redirects, kernel, publish, acknowledge } = setUp()
      for (const last of left) kernel.add(vip(last).ip)
      redirects.inherit(left.map(vip))
      publish('a', [vip(1), vip(2)])
      assert.deepEqual(
        [...kernel],
        kept.map(last => vip(last).ip),
      )
      redirects.setAlive(true)
      acknowledge('a')
      await settled()
      redirects.dropUnconfirmed()
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
  test('the kernel has exactly the redirected frontends, all of them wanted and acknowledged when they moved', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.array(fc.boolean()), async (steps, pauses) => {
        const { redirects, kernel, lifeOf, publish, acknowledge, acknowledged } = setUp()
        const wanted = new Set<string>()
        const ever = new Set<string>()
        for (const [i, { do: what, id: name }] of steps.entries()) {
          if (what === 'want') {
            wanted.add(name)
            publish(name, [vip(name.charCodeAt(0))])
          } else if (what === 'unwant') {
            wanted.delete(name)
            redirects.withdraw(lifeOf(name), 'unwanted')
          } else if (what === 'acknowledge') {
            ever.add(name)
            acknowledge(name)
          } else if (what === 'lose') for (const ref of needs(name)) acknowledged.delete(`${ref.typeUrl} ${ref.name}`)
          else redirects.setAlive(what === 'alive')
          if (pauses[i]) await settled()
          const up = ['a', 'b', 'c'].filter(candidate => lifeOf(candidate).isRedirected)
          assert.deepEqual([...kernel].sort(), up.map(candidate => vip(candidate.charCodeAt(0)).ip).sort())
          for (const candidate of up) assert.ok(wanted.has(candidate) && ever.has(candidate))
        }
        redirects.stop()
      }),
      { numRuns: 50 },
    )
  })
})
