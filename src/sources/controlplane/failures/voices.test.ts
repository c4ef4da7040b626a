/** Nodes that read facts from different replicas, each of which judges by all of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startControlPlane } from '../../../controlplane/server.ts'
import type { Exclusion } from '../../../exclusions/exclusion.ts'
import { aNode, anEndpoint, aSlice, put } from '../../../services/testing.ts'
import { RecordingListener, silentLog, until } from '../../testing.ts'
import { controlPlaneSource } from '../controlplane.ts'
import { Cluster, DirectSource } from '../testing.ts'

const endpoint = '10.244.9.1:8080'
const failureTimes = { answerMs: 10_000, validMs: 10_000, settleMs: 0, askMs: 50 }

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

async function startReplica() {
  const replica = await startControlPlane({ address: { address: '127.0.0.1', port: 0 }, log: silentLog, failureTimes })
  replica.knowledge.changes([put(aSlice([anEndpoint('10.244.9.1')]))])
  replica.knowledge.synced()
  return replica
}

test('nodes of different replicas find an endpoint dead together, and go on when a replica ends', async () => {
  const replicas = [await startReplica(), await startReplica()]
  const cluster = new Cluster()
  cluster.apply(put(aNode('a')))
  const found = replicas.map(({ port }) => ({ host: '127.0.0.1', address: `127.0.0.1:${port}` }))
  const agents = ['node1', 'node2'].map((nodeName, i) => {
    const source = controlPlaneSource({
      findReplicas: async () => (i === 0 ? found : found.toReversed()),
      nodeName,
      direct: () => new DirectSource(cluster, nodeName),
      patienceMs: 60_000,
      searchMs: 50,
      exchangesFailures: true,
      log: silentLog,
    })
    return { source, heard: new Agent() }
  })
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
