import assert from 'node:assert/strict'
import { test } from 'node:test'
import { portState } from '../../../testing/states.ts'
import { Agent, dns, unordered, wanted, web } from '../../../testing/tables.ts'

for (const isExact of [true, false]) {
  test(`A port that the kernel refuses holds up no other, is reported by name, and is written once it can be: ${isExact}`, async () => {
    const agent = new Agent()
    agent.nft.isExact = isExact
    agent.nft.refuses = text => text.includes('10.0.0.66')
    const bad = portState('a/bad/http', '10.0.0.66', ['10.1.0.1:80'])
    const good = Array.from({ length: 20 }, (_, n) => portState(`a/s${n}/http`, `10.0.1.${n}`, ['10.1.0.1:80@node1']))
    await agent.run([...good.slice(0, 7), bad, ...good.slice(7)])
    assert.deepEqual(unordered(agent.nft.model.elements()), wanted(good))
    assert.deepEqual(
      agent.problems.get('kernel a/bad/http')?.map(({ code, object }) => ({ code, object })),
      [{ code: 'LP401', object: 'Service a/bad' }],
    )
    agent.nft.refuses = () => false
    agent.tables.setPort(bad)
    await agent.tables.settled()
    assert.deepEqual(unordered(agent.nft.model.elements()), wanted([...good, bad]))
    assert.equal(agent.problems.size, 0)
    await agent.tables.close()
  })
}

test('A port that cannot be changed keeps what it has', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.nft.refuses = text => text.includes('10.1.0.66')
  agent.tables.setPort({ ...web, endpoints: [{ ip: '10.1.0.66', port: 80 }] })
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web, dns]))
  assert.equal(agent.tables.snapshot(web.id)?.problem?.code, 'LP401')
  await agent.tables.close()
})

test('A port that goes while another is refused is gone, and what comes after is written', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.nft.refuses = text => text.includes('10.1.0.66')
  agent.tables.setPort({ ...web, endpoints: [{ ip: '10.1.0.66', port: 80 }] })
  agent.tables.removePort(dns.id)
  await agent.tables.settled()
  const next = portState('a/next/http', '10.0.0.3', ['10.1.0.1:80@node1'])
  agent.tables.setPort(next)
  await agent.tables.settled()
  const services = [...agent.nft.model.elements().keys()].filter(name => name.startsWith('ip services '))
  assert.deepEqual(services.sort(), ['ip services 10.0.0.1 . tcp . 80', 'ip services 10.0.0.3 . tcp . 80'])
  assert.deepEqual([...agent.problems.keys()], [`kernel ${web.id}`])
  await agent.tables.close()
})

test('Without the right to write nothing crashes; it is reported, and all is written when it may be', async () => {
  const agent = new Agent()
  agent.nft.missing = true
  await agent.tables.start()
  agent.tables.setPort(web)
  agent.tables.synced()
  const [problem] = agent.problems.get('kernel')!
  assert.equal(problem!.code, 'LP401')
  assert.match(problem!.remedy, /CAP_NET_ADMIN/)
  agent.nft.missing = false
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  assert.equal(agent.problems.size, 0)
  await agent.tables.close()
})

test('Each sync reports its result and what it has settled, from the synchronisation of the source on', async () => {
  const { tables, results, nft } = new Agent()
  await tables.start()
  assert.deepEqual(results, [])
  tables.setPort(web)
  tables.synced()
  const asked = performance.now()
  await tables.settled()
  assert.deepEqual(
    results.map(({ ok, isFull, syncedThrough }) => [ok, isFull, syncedThrough >= asked]),
    [[true, true, true]],
  )
  tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
  await tables.settled()
  nft.missing = true
  tables.setPort(web)
  const failed = new Promise<void>(resolve => {
    const push = results.push.bind(results)
    results.push = (...more) => {
      resolve()
      return push(...more)
    }
  })
  await failed
  assert.deepEqual(
    results.slice(1, 3).map(({ ok, isFull }) => [ok, isFull]),
    [
      [true, false],
      [false, false],
    ],
  )
  await tables.close()
})

test('A port that is refused alone does not make a sync fail', async () => {
  const { tables, results, nft } = new Agent()
  nft.refuses = text => text.includes('10.0.0.2')
  await tables.start()
  tables.setPort(web)
  tables.setPort(dns)
  tables.synced()
  await tables.settled()
  assert.equal(results.at(-1)?.ok, true)
  await tables.close()
})

test('What comes while a sync runs, and is in it, is settled by it', async () => {
  const { tables, results, nft } = new Agent()
  const { chains } = nft
  let asked = 0
  nft.chains = family => {
    asked ||= performance.now()
    tables.setPort(web)
    tables.synced()
    return chains.call(nft, family)
  }
  await tables.start()
  await tables.settled()
  const [result, ...more] = results
  assert.deepEqual([result?.ok, more], [true, []])
  assert.ok(result!.syncedThrough >= asked, `${result!.syncedThrough} ${asked}`)
  await tables.close()
})
