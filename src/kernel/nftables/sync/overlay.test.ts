import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noPolicies } from '../../nodeconfig.ts'
import { stateOf, withOutside } from '../../testing/external.ts'
import { adding } from '../../testing/states.ts'
import { Agent, bound, dns, overlayAddresses, overlayKeysOf, unordered, wanted, web } from '../../testing/tables.ts'
import { addressPortBytes } from '../bytes.ts'
import { overlaySets } from '../elements/elements.ts'
import { nothingRedirected, placementOf, type Redirected } from '../elements/plan.ts'
import { staysRedirected } from './ports/record.ts'

test('Pods that stay in the kernel layer are written before the overlay, edited one by one, and kept over a restart', async () => {
  const first = new Agent()
  first.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.1', 'fd00::9:1'] })
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80, isShared: true }], true)
  await first.run([web])
  const clients = ({ nft }: Agent) => [...nft.model.elements().keys()].filter(name => name.includes('kernel-clients'))
  assert.deepEqual(clients(first), ['ip kernel-clients 10.1.9.1', 'ip6 kernel-clients fd00::9:1'])
  const [clientsWritten, overlayWritten] = ['kernel-clients { 10.1.9.1 }', ' envoy { 10.0.0.1'].map(text =>
    first.nft.texts.findIndex(written => written.includes(text)),
  )
  assert.ok(clientsWritten! < overlayWritten!)
  const written = first.nft.texts.length
  first.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.1', '10.1.9.2'] })
  await first.tables.settled()
  assert.deepEqual(first.nft.texts.slice(written), [
    'delete element ip6 lightpath kernel-clients { fd00::9:1 }\nadd element ip lightpath kernel-clients { 10.1.9.2 }\n',
  ])
  await first.tables.close()

  const second = new Agent(first.nft)
  second.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.2'] })
  await second.run([web])
  assert.deepEqual(clients(second), ['ip kernel-clients 10.1.9.2'])
  await second.tables.close()
})

test('Overlay entries of a previous run stay until they are confirmed or dropped', async () => {
  const first = new Agent()
  await first.run([web])
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80, isShared: true }], true)
  await first.tables.settled()
  await first.tables.close()
  const { tables, nft, run } = bound(new Agent(first.nft))
  await run([web])
  assert.ok(nft.model.elements().has('ip envoy 10.0.0.1 . 80'))
  tables.dropInheritedOverlay()
  await tables.settled()
  assert.ok(!nft.model.elements().has('ip envoy 10.0.0.1 . 80'))
  await tables.close()
})

test('External addresses in the overlay outlive the agent, are emptied with it, and are not looked for after that', async () => {
  for (const count of [1, 2]) {
    const web = withOutside(stateOf(2, [1, 2]), 2, count)
    const addresses = overlayAddresses(web)
    let agent = new Agent()
    await agent.run([web])
    agent.tables.setOverlay(addresses, true)
    await agent.tables.settled()
    await agent.tables.close()
    agent = new Agent(agent.nft)
    const inherited = await agent.run([web])
    assert.deepEqual(inherited.map(addressPortBytes).toSorted(), overlayKeysOf(web).toSorted())
    const inOverlay = () => [...agent.tables.totals.keys()].filter(name => name.startsWith('ip envoy'))
    assert.equal(inOverlay().length, 2)
    agent.nft.texts.length = 0
    agent.tables.clearOverlay()
    await agent.tables.settled()
    agent.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
    await agent.tables.settled()
    assert.doesNotMatch(agent.nft.texts.slice(1).join(''), / envoy/)
    assert.deepEqual(inOverlay(), [])
    assert.ok(agent.results.every(({ ok }) => ok))
    await agent.tables.close()
  }
})

test('What is written of a port waits for Envoy only where its connections go there and are to go on to', () => {
  const up = { keys: overlayKeysOf(web), isShared: true }
  const waits = (before: Redirected, after: Redirected) =>
    staysRedirected({ id: web.id, state: web, written: placementOf(web, before), refusal: undefined }, after)
  assert.equal(waits(up, up), true)
  assert.equal(waits(up, nothingRedirected), false)
  assert.equal(waits(nothingRedirected, up), false)
  assert.equal(staysRedirected({ id: web.id, state: web, written: undefined, refusal: undefined }, up), false)
})

test('The overlay is emptied by one transaction that comes first', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.tables.setOverlay([{ ip: '10.0.0.1', port: 80, isShared: true }], true)
  await agent.tables.settled()
  agent.nft.texts.length = 0
  agent.tables.removePort(dns.id)
  agent.tables.clearOverlay()
  await agent.tables.settled()
  const sets = ['ip', 'ip6'].flatMap(family => overlaySets.map(set => `flush set ${family} lightpath ${set}\n`))
  assert.equal(agent.nft.texts[0], sets.join(''))
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  await agent.tables.close()
})

test('A Service that comes back enters the overlay only when it is put there again', async () => {
  const agent = new Agent()
  await agent.run([web])
  agent.tables.setOverlay([{ ip: '10.0.0.1', port: 80, isShared: true }], true)
  agent.tables.removePort(web.id)
  agent.tables.setPort(web)
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  await agent.tables.close()
})

test('The switch of the overlay is left alone', async () => {
  const agent = new Agent()
  await agent.run([web])
  agent.nft.model.apply([adding('ip', 'overlay_off', 'ip')])
  await agent.tables.close()
  const { tables, nft, run } = bound(new Agent(agent.nft))
  await run([])
  assert.ok(nft.model.elements().has('ip overlay_off ip'))
  await tables.close()
})
