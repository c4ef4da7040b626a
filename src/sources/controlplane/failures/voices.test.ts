/** Nodes that read facts from different replicas, each of which judges by all of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { startControlPlane } from '../../../controlplane/server.ts'
import type { Exclusion } from '../../../exclusions/exclusion.ts'
import { encodeReport, failuresService } from '../../../facts/failures.ts'
import { sayFormat } from '../../../facts/format.ts'
import type { Log } from '../../../observe/log.ts'
import { aNode, anEndpoint, aPod, aSlice, put } from '../../../services/testing.ts'
import { RecordingListener, silentLog, until } from '../../testing.ts'
import { controlPlaneSource } from '../controlplane.ts'
import type { Replica } from '../replicas/addresses.ts'
import { Cluster, DirectSource } from '../testing.ts'

const endpoint = '10.244.9.1:8080'
const failureTimes = { validMs: 10_000, settleMs: 0, askMs: 50 }

class Agent extends RecordingListener {
  excluded: readonly Exclusion[] = []
  wanted: readonly string[] = []
  hasLost = false

  exclusions(all: readonly Exclusion[]): void {
    this.hasLost ||= all.length < this.excluded.length
    this.excluded = all
  }

  asked(endpoints: readonly string[]): void {
    this.wanted = endpoints
  }
}

/** @param answerMs after which a node that does not answer is silent */
async function startReplica(answerMs = 10_000) {
  const replica = await startControlPlane({
    address: { address: '127.0.0.1', port: 0 },
    failureTimes: { ...failureTimes, answerMs },
    log: silentLog,
  })
  replica.knowledge.changes([
    put(aSlice([anEndpoint('10.244.9.1')])),
    put(aPod('pod', '10.244.9.1', { nodeName: 'node9' })),
  ])
  replica.knowledge.synced()
  const address = `127.0.0.1:${replica.port}`
  return { ...replica, address, found: { host: '127.0.0.1', address } }
}

/** Node1 and node2. */
function twoAgents(findBy: (agent: number) => readonly Replica[], info: Log['info'] = silentLog.info) {
  const cluster = new Cluster()
  cluster.apply(put(aNode('a')))
  return ['node1', 'node2'].map((nodeName, i) => {
    const source = controlPlaneSource({
      findReplicas: async () => findBy(i),
      nodeName,
      direct: () => new DirectSource(cluster, nodeName),
      patienceMs: 60_000,
      searchMs: 50,
      exchangesFailures: true,
      log: { ...silentLog, info },
    })
    return { source, heard: new Agent() }
  })
}

test('nodes of different replicas find an endpoint dead together, and go on when a replica ends', async () => {
  const replicas = [await startReplica(), await startReplica()]
  const found = replicas.map(({ found }) => found)
  const agents = twoAgents(agent => (agent === 0 ? found : found.toReversed()))
  const all = (is: (heard: Agent) => boolean, what: string) =>
    until(
      () => agents.every(({ heard }) => is(heard)),
      () => `${what}: ${JSON.stringify(agents.map(({ heard }) => [heard.wanted, heard.excluded]))}`,
    )
  const sees = (seen: 'timed out' | 'answers') => {
    for (const { source } of agents) source.report!([{ endpoint, seen, since: 1 }])
  }
  try {
    for (const { source, heard } of agents) await source.start(heard)
    await all(({ timesSynced }) => timesSynced === 1, 'served')
    assert.deepEqual(
      replicas.map(({ knowledge }) => knowledge.isKnown),
      [true, true],
    )
    sees('timed out')
    await all(({ excluded }) => excluded[0]?.by.join() === 'node1,node2', 'excluded')
    await replicas[0]!.stop()
    await until(
      () => replicas[1]!.readings().nodes === 2,
      () => 'node1 has not come',
    )
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.deepEqual(
      agents.map(({ heard }) => heard.hasLost),
      [false, false],
    )
    sees('answers')
    await all(({ excluded, wanted }) => excluded.length === 0 && wanted.length === 0, 'over')
  } finally {
    for (const { source } of agents) await source.stop()
    for (const replica of replicas) await replica.stop()
  }
})

test('nodes leave a replica on a node that another one finds dead', async () => {
  const replicas = [await startReplica(1000), await startReplica(1000)]
  const [onDead, other] = replicas as [(typeof replicas)[0], (typeof replicas)[0]]
  const read: unknown[] = []
  const agents = twoAgents(
    () => [{ ...onDead.found, node: 'node9' }, other.found],
    ({ controlPlane }, message) => {
      if (message.startsWith('facts come')) read.push(controlPlane)
    },
  )
  const dead = new Client(other.address, credentials.createInsecure())
  try {
    for (const { source, heard } of agents) await source.start(heard)
    const { path, requestSerialize, responseDeserialize } = failuresService.exchange
    const call = dead.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, sayFormat(new Metadata()))
    // It answers no verdict.
    call.on('error', () => undefined).on('data', () => undefined)
    call.write(encodeReport({ node: 'node9', sights: [] }))
    await until(
      () => read.length === 2,
      () => `facts come from ${read.join()}`,
    )
    for (const { source } of agents) source.report!([{ endpoint, seen: 'timed out', since: 1 }])
    await until(
      () => agents.every(({ heard }) => heard.excluded.some(({ of, name }) => `${of} ${name}` === 'node node9')),
      () => JSON.stringify(agents.map(({ heard }) => heard.excluded)),
    )
    assert.deepEqual(
      read,
      [onDead, onDead, other, other].map(({ address }) => address),
    )
  } finally {
    dead.close()
    for (const { source } of agents) await source.stop()
    for (const replica of replicas) await replica.stop()
  }
})
