import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { aPort, aService, put, remove } from '../../services/testing.ts'
import { growth } from '../../testing/steps.ts'
import { planOf, stateOf, type TestPlan } from '../testing.ts'
import type { PlanUpdate } from '../update.ts'

describe('a VIP:port that two Services claim', () => {
  const [a, b] = [aService({ name: 'a', created: 2 }), aService({ name: 'b', created: 1 })]
  const servedBy = (plan: TestPlan) => [...plan.states()].map(({ name }) => name)

  test("is the older Service's, whichever came first, and the other gets a problem", () => {
    const plan = planOf(b)
    const { problems } = plan.tell([put(a)])
    assert.equal(problems.get('Service whoami/a')?.[0]?.code, 'LP211')
    assert.match(
      problems.get('Service whoami/a')?.[0]?.reason ?? '',
      /10\.96\.0\.10:80\/TCP belongs to whoami\/b\/http/,
    )
    assert.deepEqual(servedBy(plan), ['b'])
    assert.deepEqual(servedBy(planOf(a, b)), ['b'])
  })
  test('is released before it is taken, and the younger gets it back when the older goes, without the problem', () => {
    const plan = planOf(a)
    const moved = ({ ports }: PlanUpdate) => ports.map(({ id, after }) => `${id} ${after ? 'comes' : 'goes'}`)
    const update = plan.tell([put(b)])
    assert.deepEqual(moved(update), ['whoami/a/http goes', 'whoami/b/http comes'])
    assert.equal(update.problems.get('Service whoami/a')?.[0]?.code, 'LP211')
    const { ports, problems } = plan.tell([remove(b)])
    assert.deepEqual(
      ports.map(({ id, after }) => [id, after !== undefined]),
      [
        ['whoami/b/http', false],
        ['whoami/a/http', true],
      ],
    )
    assert.deepEqual(problems.get('Service whoami/a'), [])
  })
  test('goes to the oldest, and by name where they are of one age', () => {
    const all = [
      aService({ name: 'd', created: 2 }),
      aService({ name: 'younger', created: 3 }),
      aService({ name: 'c', created: 2 }),
      aService({ name: 'older', created: 1 }),
    ]
    const plan = planOf(...all)
    for (const owner of ['older', 'c', 'd', 'younger']) {
      assert.deepEqual(servedBy(plan), [owner])
      plan.tell([remove(aService({ name: owner }))])
    }
  })
  test('goes to another when a Service is made anew under its name, which is younger then', () => {
    const plan = planOf(a, b)
    plan.tell([put({ ...b, created: 3 })])
    assert.deepEqual(servedBy(plan), ['a'])
  })
  test('is free again when the one that waits for it goes first', () => {
    const plan = planOf(b, a)
    plan.tell([remove(a)])
    plan.tell([remove(b)])
    assert.equal([...plan.states()].length, 0)
    plan.tell([put(a)])
    stateOf(plan, 'whoami/a/http')
  })
  test('is no conflict between protocols', () => {
    const plan = planOf(
      aService({ name: 'a', ports: [aPort({ name: 'dns' }), aPort({ name: 'dns-udp', protocol: 'UDP' })] }),
    )
    assert.equal([...plan.states()].length, 2)
  })
})

describe('an external address that two Services claim', () => {
  const fields = { externalIPs: ['192.0.2.1'], loadBalancerIPs: ['192.0.2.2'], ports: [aPort({ nodePort: 30080 })] }

  test('belongs to one Service; the other keeps its VIP, and gets the address when it is free', () => {
    const [a, b] = [aService({ ...fields, name: 'a' }), aService({ ...fields, name: 'b', clusterIPs: ['10.96.0.11'] })]
    const plan = planOf(a)
    const problems = plan.tell([put(b)]).problems.get('Service whoami/b')
    assert.deepEqual(
      problems?.map(({ code, reason }) => `${code} ${reason}`),
      [
        'LP211 node port 30080/TCP belongs to whoami/a/http',
        'LP211 192.0.2.1:80/TCP belongs to whoami/a/http',
        'LP211 192.0.2.2:80/TCP belongs to whoami/a/http',
      ],
    )
    assert.equal(stateOf(plan, 'whoami/b/http').external, undefined)
    plan.tell([remove(a)])
    assert.equal(stateOf(plan, 'whoami/b/http').external?.nodePort, 30080)
  })
  test('by an external IP that is the VIP of another Service leaves that Service its VIP', () => {
    const a = aService({ name: 'a', clusterIPs: ['10.96.0.11'], externalIPs: ['10.96.0.10'] })
    const plan = planOf(a)
    const externalIPs = () => stateOf(plan, 'whoami/a/http').external?.externalIPs
    assert.deepEqual(externalIPs(), ['10.96.0.10'])
    const { problems } = plan.tell([put(aService())])
    assert.equal(problems.get('Service whoami/a')?.[0]?.reason, '10.96.0.10:80/TCP belongs to whoami/whoami/http')
    assert.equal(externalIPs(), undefined)
    assert.equal(stateOf(plan).vip, '10.96.0.10')
    plan.tell([remove(aService())])
    assert.deepEqual(externalIPs(), ['10.96.0.10'])
  })
  test('as a load balancer IP belongs to that Service, though another wrote it before as its external IP', () => {
    const balanced = aService({ name: 'b', clusterIPs: ['10.96.0.11'], loadBalancerIPs: ['192.0.2.2'], created: 2 })
    const thief = aService({ name: 'a', externalIPs: ['192.0.2.2'], created: 1 })
    for (const objects of [
      [thief, balanced],
      [balanced, thief],
    ]) {
      const plan = planOf(...objects)
      assert.equal(stateOf(plan, 'whoami/a/http').external, undefined)
      assert.deepEqual(stateOf(plan, 'whoami/b/http').external?.loadBalancerIPs, ['192.0.2.2'])
    }
  })
  test('is nothing to wait for long: thousands that claim it take time in proportion to their number', async () => {
    const claiming = (size: number) =>
      Array.from({ length: size }, (_, index) =>
        aService({ name: `s${(index * 7919) % size}`, clusterIPs: [`10.97.${index >> 8}.${index & 255}`], ...fields }),
      )
    const ratio = await growth(size => planOf(...claiming(size)), 300)
    assert.ok(ratio < 5.5, `four times as many took ${ratio} times the work`)
  })
})
