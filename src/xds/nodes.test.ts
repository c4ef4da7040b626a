/** One server serves the resources of several nodes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { status } from '@grpc/grpc-js'
import { typeUrls } from '../envoy/resource.ts'
import { ResourceStore } from './store.ts'
import { type RawClient, resource, subscription, until, withServer } from './testing-server.ts'

test('each Envoy gets the resources of the node that it names, and changes of its own only', async () => {
  const other = new ResourceStore()
  await withServer(
    async ({ store, connect, server }) => {
      store.update({ put: [resource('a', '1')] })
      other.update({ put: [resource('a', '2'), resource('b', '1')] })
      const [first, second] = [connect(), connect()]
      const namesTo = (client: RawClient) =>
        client.responses.flatMap(({ resources }) => resources.map(({ name, version }) => `${name} ${version}`))
      first.send(subscription)
      await until('first', () => first.responses.length === 1)
      second.send({ ...subscription, node: { id: 'other' } })
      await until('second', () => second.responses.length === 1)
      for (const client of [first, second]) client.acknowledge(client.responses[0]!)
      await until('acknowledged', () => server.acknowledgedVersion(2, resource('a', '2')) === '2')
      other.update({ put: [resource('c', '1')] })
      await until('changed', () => second.responses.length === 2)
      store.update({ put: [resource('d', '1')] })
      await until('changed', () => first.responses.length === 2)
      assert.deepEqual([first, second].map(namesTo), [
        ['a 1', 'd 1'],
        ['a 2', 'b 1', 'c 1'],
      ])
      assert.equal(server.acknowledgedVersion(1, resource('a', '1')), '1')
    },
    { others: { other } },
  )
})

test('an Envoy of a node that is not served is refused with a reason, and no other', async () => {
  await withServer(async ({ store, connect, log, events }) => {
    store.update({ put: [resource('a', '1')] })
    const [known, stranger, nameless] = [connect(), connect(), connect()]
    known.send(subscription)
    stranger.send({ ...subscription, node: { id: 'elsewhere' } })
    nameless.send({ typeUrl: typeUrls.cluster })
    await until('refused', () => stranger.ended !== undefined && nameless.ended !== undefined)
    assert.equal(stranger.ended?.code, status.NOT_FOUND)
    assert.match(stranger.ended.details, /node "elsewhere" is not served here/)
    assert.equal(nameless.ended?.code, status.NOT_FOUND)
    assert(log.some(line => line.includes('elsewhere')))
    await until('the known one is served', () => known.responses.length === 1)
    assert.deepEqual(
      events.map(event => event.split(' ')[0]),
      ['connected'],
    )
    assert.deepEqual(stranger.responses, [])
  })
})
