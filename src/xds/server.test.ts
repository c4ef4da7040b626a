import assert from 'node:assert/strict'
import { existsSync, renameSync, statSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { typeUrls } from '../envoy/resource.ts'
import { startXdsServer } from './server.ts'
import { noteInto, resource, subscription, until, withServer } from './testing-server.ts'

test('what arrives is what was stored, with its name, version and type', async () => {
  await withServer(async ({ store, connect }) => {
    store.update({ put: [resource('a', '1', 300)] })
    const client = connect()
    client.send(subscription)
    await until('response', () => client.responses.length === 1)
    const [sent] = client.responses[0]!.resources
    assert.equal(sent?.name, 'a')
    assert.equal(sent.version, '1')
    assert.equal(sent.resource?.typeUrl, typeUrls.cluster)
    assert.deepEqual(Uint8Array.from(sent.resource.value), resource('a', '1', 300).encode())
    assert.equal(client.responses[0]!.typeUrl, typeUrls.cluster)
  })
})

test('a malformed request ends its own stream with a reason, and no other', async () => {
  await withServer(async ({ store, connect, log }) => {
    const [good, bad] = [connect(), connect()]
    good.send(subscription)
    bad.send(subscription)
    await until('both served', () => good.responses.length === 1 && bad.responses.length === 1)
    good.acknowledge(good.responses[0]!)
    bad.stream.write(Uint8Array.of(0x0a, 0xff, 0xff))
    await until('ended', () => bad.ended !== undefined)
    assert.equal(bad.ended?.code, status.INVALID_ARGUMENT)
    assert.match(bad.ended.details, /no DeltaDiscoveryRequest/)
    assert(log.some(line => line.includes('no DeltaDiscoveryRequest')))
    store.update({ put: [resource('a', '1')] })
    await until('the other goes on', () => good.responses.length === 2)
  })
})

test('an answer to a response that is not in flight is ignored, and logged', async () => {
  await withServer(async ({ store, connect, log, server }) => {
    store.update({ put: [resource('a', '1')] })
    const client = connect()
    client.send(subscription)
    await until('response', () => client.responses.length === 1)
    client.send({ typeUrl: typeUrls.cluster, responseNonce: 'made-up' })
    client.send({ typeUrl: typeUrls.cluster, responseNonce: '0', errorDetail: { code: 13, message: 'x' } })
    await until('logged', () => log.filter(line => line.includes('not the one in flight')).length === 2)
    assert.equal(server.acknowledgedVersion(1, resource('a', '1')), undefined)
    client.acknowledge(client.responses[0]!)
    await until('acknowledged', () => server.acknowledgedVersion(1, resource('a', '1')) === '1')
    client.acknowledge(client.responses[0]!)
    await until('logged', () => log.filter(line => line.includes('not the one in flight')).length === 3)
    assert.equal(server.acknowledgedVersion(1, resource('a', '1')), '1')
  })
})

test('a type that is not served is named in the log once, and the stream goes on', async () => {
  await withServer(async ({ store, connect, log }) => {
    const client = connect()
    const secrets = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
    for (let n = 0; n < 3; n++) client.send({ node: { id: 'n' }, typeUrl: secrets, resourceNamesSubscribe: ['s'] })
    client.send(subscription)
    await until('response', () => client.responses.length === 1)
    assert.equal(log.filter(line => line.includes(secrets)).length, 1)
    client.acknowledge(client.responses[0]!)
    store.update({ put: [resource('a', '1')] })
    await until('served', () => client.responses.length === 2)
  })
})

test('a second stream of the same node is served by itself and named in the log', async () => {
  await withServer(async ({ store, connect, log, events }) => {
    store.update({ put: [resource('a', '1')] })
    const [first, second] = [connect(), connect()]
    first.send(subscription)
    await until('first', () => first.responses.length === 1)
    second.send(subscription)
    await until('second', () => second.responses.length === 1)
    assert(log.some(line => line.includes('node id of another')))
    first.close()
    await until('gone', () => events.includes('disconnected 1'))
    second.acknowledge(second.responses[0]!)
    await until('acknowledged', () => events.includes('acknowledged 2 a 1'))
  })
})

test('a client that does not read makes the server hold neither responses nor old versions', async () => {
  await withServer(async ({ store, connect, server }) => {
    const names = Array.from({ length: 3000 }, (_, n) => `c${n}`)
    const client = connect()
    client.stream.pause()
    client.send(subscription)
    await until('asked', () => server.traffic.get(typeUrls.cluster)?.requests === 1)
    for (let version = 1; version <= 5; version++) {
      store.update({ put: names.map(name => resource(name, `${version}`, 2000)) })
      await sleep(5)
    }
    assert.equal(server.traffic.get(typeUrls.cluster)?.responses, 1)
    client.stream.resume()
    client.stream.on('data', () => client.acknowledge(client.responses.at(-1)!))
    const last = { typeUrl: typeUrls.cluster, name: 'c2999' }
    await until('up to date', () => server.acknowledgedVersion(1, last) === '5')
    const sent = client.responses.flatMap(({ resources }) => resources)
    assert(sent.length <= 2 * names.length, `${sent.length} resources sent for ${names.length}`)
    for (const { resources } of client.responses) assert(resources.length <= (1 << 20) / 2000)
  })
})

test('stopping ends every stream in order, so that clients look for a server again', async () => {
  await withServer(async ({ server, connect, events }) => {
    const client = connect()
    client.send(subscription)
    await until('response', () => client.responses.length === 1)
    await server.stop()
    await until('ended', () => client.ended !== undefined)
    assert.equal(client.ended?.code, status.OK)
    assert(events.includes('disconnected 1'))
  })
})

test('a socket that another server has is left to it, with its path and what to do', async () => {
  await withServer(async ({ path, store }) => {
    const again = startXdsServer({
      storeOf: () => store,
      path,
      observer: noteInto([]),
      log: { info: () => {}, warn: () => {} },
    })
    await assert.rejects(again, error => {
      const { message } = error as Error
      assert.match(message, /xds\.sock: another agent uses it; stop it/)
      return true
    })
  })
})

test('a socket that a killed server left is replaced, and only its user and group may open the new one', async () => {
  await withServer(async ({ path, store }) => {
    // As after SIGKILL: the file is there, and nobody answers.
    renameSync(path, `${path}.gone`)
    const next = `${path}.next`
    const options = {
      storeOf: () => store,
      path: next,
      observer: noteInto([]),
      log: { info: () => {}, warn: () => {} },
    }
    const first = await startXdsServer(options)
    renameSync(next, `${next}.kept`)
    await first.stop()
    renameSync(`${next}.kept`, next)
    const second = await startXdsServer(options)
    assert.equal(statSync(next).mode & 0o777, 0o660)
    await second.stop()
    assert.equal(existsSync(next), false)
  })
})

test('a process of another user is not served, and its user is named', async () => {
  const own = process.geteuid!()
  await withServer(
    async ({ log, events, connect }) => {
      const client = connect()
      client.send(subscription)
      await until('refusal', () => log.some(line => line.includes('xDS client of another user refused')))
      assert.match(log.join(), new RegExp(`"user":${own}`))
      assert.deepEqual(events, [])
    },
    { users: [own + 1] },
  )
  await withServer(
    async ({ server, events, connect }) => {
      assert.deepEqual(server.users(), [])
      const client = connect()
      client.send(subscription)
      await until('connected', () => events.includes('connected 1 n'))
      assert.deepEqual(server.users(), [own])
      client.close()
      await until('gone', () => server.users().length === 0)
    },
    { users: [own] },
  )
})
