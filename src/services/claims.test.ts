import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { aPort, aService, put, remove, stateOf, tableOf } from './testing.ts'

describe('a VIP:port that two Services claim', () => {
  const [a, b] = [aService({ name: 'a' }), aService({ name: 'b' })]
  test('stays with the one that has it, and the other is told', () => {
    const table = tableOf(b)
    const { problems } = table.apply([put(a)])
    assert.equal(problems.get('Service whoami/a')?.[0]?.code, 'LP211')
    assert.match(
      problems.get('Service whoami/a')?.[0]?.reason ?? '',
      /10\.96\.0\.10:80\/TCP belongs to whoami\/b\/http/,
    )
    assert.equal(table.get('whoami/a/http'), undefined)
    stateOf(table, 'whoami/b/http')
  })
  test('goes to the other when its owner goes, whose problem is then over', () => {
    const table = tableOf(b, a)
    const { ports, problems } = table.apply([remove(b)])
    assert.deepEqual(
      ports.map(({ id, after }) => [id, after !== undefined]),
      [
        ['whoami/b/http', false],
        ['whoami/a/http', true],
      ],
    )
    assert.deepEqual(problems.get('Service whoami/a'), [])
  })
  test('goes to the oldest of several that wait, and by name where they are of one age', () => {
    const waiting = [
      aService({ name: 'd', created: 2 }),
      aService({ name: 'younger', created: 3 }),
      aService({ name: 'c', created: 2 }),
      aService({ name: 'older', created: 1 }),
    ]
    const table = tableOf(b, ...waiting)
    const owners = ['b', 'older', 'c', 'd', 'younger']
    for (const owner of owners) {
      assert.deepEqual(
        [...table.states()].map(({ name }) => name),
        [owner],
      )
      table.apply([remove(aService({ name: owner }))])
    }
  })
  test('is free again when the one that waits for it goes first', () => {
    const table = tableOf(b, a)
    table.apply([remove(a)])
    table.apply([remove(b)])
    assert.equal([...table.states()].length, 0)
    table.apply([put(a)])
    stateOf(table, 'whoami/a/http')
  })
  test('is no conflict between protocols', () => {
    const table = tableOf(
      aService({ name: 'a', ports: [aPort({ name: 'dns' }), aPort({ name: 'dns-udp', protocol: 'UDP' })] }),
    )
    assert.equal([...table.states()].length, 2)
  })
})

describe('a place outside that two Services claim', () => {
  const fields = { externalIPs: ['192.0.2.1'], loadBalancerIPs: ['192.0.2.2'], ports: [aPort({ nodePort: 30080 })] }

  test('belongs to one Service a place; the other keeps its VIP, and gets the place when it is free', () => {
    const [a, b] = [aService({ ...fields, name: 'a' }), aService({ ...fields, name: 'b', clusterIPs: ['10.96.0.11'] })]
    const table = tableOf(a)
    const problems = table.apply([put(b)]).problems.get('Service whoami/b')
    assert.deepEqual(
      problems?.map(({ code, reason }) => `${code} ${reason}`),
      [
        'LP211 node port 30080/TCP belongs to whoami/a/http',
        'LP211 192.0.2.1:80/TCP belongs to whoami/a/http',
        'LP211 192.0.2.2:80/TCP belongs to whoami/a/http',
      ],
    )
    assert.equal(stateOf(table, 'whoami/b/http').external, undefined)
    table.apply([remove(a)])
    assert.equal(stateOf(table, 'whoami/b/http').external?.nodePort, 30080)
  })
  test('by an external IP that is the VIP of another Service leaves that Service its VIP', () => {
    const a = aService({ name: 'a', clusterIPs: ['10.96.0.11'], externalIPs: ['10.96.0.10'] })
    const table = tableOf(a)
    const externalIPs = () => stateOf(table, 'whoami/a/http').external?.externalIPs
    assert.deepEqual(externalIPs(), ['10.96.0.10'])
    const { problems } = table.apply([put(aService())])
    assert.equal(problems.get('Service whoami/a')?.[0]?.reason, '10.96.0.10:80/TCP belongs to whoami/whoami/http')
    assert.equal(externalIPs(), undefined)
    assert.equal(stateOf(table).vip, '10.96.0.10')
    table.apply([remove(aService())])
    assert.deepEqual(externalIPs(), ['10.96.0.10'])
  })
})
