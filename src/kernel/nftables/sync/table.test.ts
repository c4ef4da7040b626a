import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withOutside } from '../../testing/external.ts'
import { Agent, bound, dns, unordered, wanted, web } from '../../testing/tables.ts'
import { tableOf } from '../rules/ruleset.ts'

test('Nothing is written of Services before the source has synced', async () => {
  const { tables, nft } = new Agent()
  await tables.start()
  tables.setPort(web)
  await tables.settled()
  assert.deepEqual(nft.model.elements(), new Map())
  await tables.close()
})

test('A restart that finds all as it should be writes nothing', async () => {
  const first = new Agent()
  await first.run([web, dns])
  first.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
  await first.tables.settled()
  first.tables.setPort(web)
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80, isShared: true }], true)
  await first.tables.settled()
  await first.tables.close()
  const written = first.nft.texts.length
  const second = new Agent(first.nft)
  assert.deepEqual(await second.run([web, dns]), [{ ip: '10.0.0.1', port: 80, isShared: true }])
  assert.equal(first.nft.texts.length, written)
  await second.tables.close()
})

test('What a previous run left of Services that are gone is removed once the source has synced, not before', async () => {
  const first = new Agent()
  await first.run([web, dns])
  await first.tables.close()
  const second = new Agent(first.nft)
  await second.tables.start()
  assert.deepEqual(unordered(first.nft.model.elements()), wanted([web, dns]))
  await second.run([dns])
  assert.deepEqual(unordered(first.nft.model.elements()), wanted([dns]))
  await second.tables.close()
})

test('The fixed part of another version is replaced in one transaction, and the elements stay', async () => {
  const first = new Agent()
  await first.run([web])
  await first.tables.close()
  const before = first.nft.model.elements()
  const marker = first.nft.model.chainNames('ip').find(name => name.startsWith('ruleset-'))!
  const table = tableOf('ip')
  first.nft.model.apply([
    { do: 'delete chain', table, name: marker },
    { do: 'declare', table, sets: [], chains: [{ name: 'ruleset-older', rules: [] }] },
  ])
  first.nft.texts.length = 0
  const { tables, nft, run } = bound(new Agent(first.nft))
  await run([web])
  assert.equal(nft.texts.length, 1)
  assert.deepEqual(nft.model.elements(), before)
  assert.ok(nft.model.chainNames('ip').includes(marker))
  assert.ok(!nft.model.chainNames('ip').includes('ruleset-older'))
  await tables.close()
})

test('Sets of source ranges of an earlier version go with its rules', async () => {
  const agent = new Agent()
  const table = { family: 'ip', name: 'lightpath' } as const
  const sets = ['restricted', 'allowed-sources'].map(name => ({ name, key: ['address'] }) as const)
  agent.nft.model.apply([{ do: 'declare', table, sets, chains: [{ name: 'ruleset-old', rules: [] }] }])
  await agent.run([web])
  assert.ok(!agent.nft.model.setNames('ip').some(name => name === 'restricted' || name === 'allowed-sources'))
  await agent.tables.close()
})

test('Source ranges are in a set of their frontend, which goes as a whole', async () => {
  const agent = new Agent()
  const outside = withOutside(web, 1, 4)
  await agent.run([outside])
  const own = 'ranges-192.0.2.1-tcp-80'
  assert.ok(agent.nft.model.setNames('ip').includes(own))
  const before = agent.nft.texts.length
  agent.tables.setPort({ ...outside, external: undefined })
  await agent.tables.settled()
  assert.ok(!agent.nft.model.setNames('ip').includes(own))
  const texts = agent.nft.texts.slice(before).join('')
  assert.match(texts, new RegExp(`delete set ip lightpath ${own}`))
  assert.doesNotMatch(texts, new RegExp(`element ip lightpath ${own}`))
  await agent.tables.close()
})

test('A range that holds the address of this node admits its packets from a load-balancer IP, once that is known', async () => {
  const agent = new Agent()
  const outside = withOutside(web, 1, 4)
  await agent.run([outside])
  const own = () => agent.nft.model.elements().has('ip source-ranges 192.0.2.1 . tcp . 80 . 192.0.2.1')
  assert.equal(own(), false)
  agent.tables.setNode({ addresses: ['10.9.9.9'], podCidrs: [] })
  await agent.tables.settled()
  assert.equal(own(), true)
  agent.tables.setNode({ addresses: ['172.30.0.11'], podCidrs: [] })
  await agent.tables.settled()
  assert.equal(own(), false)
  await agent.tables.close()
})
