/** Agents and control planes in one process: what some see of an endpoint reaches all of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { controlPlaneMetrics } from '../../../controlplane/metrics.ts'
import { startControlPlane } from '../../../controlplane/server.ts'
import type { Exclusion } from '../../../exclusions/exclusion.ts'
import { encodeReport, failuresService, type Sight } from '../../../facts/failures.ts'
import { sayFormat } from '../../../facts/format.ts'
import { Bearers } from '../../../observe/access/bearers.ts'
import type { Note } from '../../../services/note.ts'
import { aNode, anEndpoint, aPod, aSlice, put } from '../../../services/testing.ts'
import { discoveryService } from '../../../xds/grpc.ts'
import { RecordingListener, silentLog, until } from '../../testing.ts'
import { controlPlaneSource } from '../controlplane.ts'
import { hostAddresses } from '../replicas/addresses.ts'
import { FactsStream } from '../stream.ts'
import { Cluster, DirectSource } from '../testing.ts'

const endpoint = '10.244.9.1:8080'
/** Exclusions hold far longer than a busy machine keeps a renewal waiting. */
const failureTimes = { answerMs: 1000, validMs: 2000, settleMs: 0, askMs: 200 }

class ExcludingListener extends RecordingListener {
  excluded: readonly Exclusion[] = []
  wanted: readonly string[] = []
  /** How many were excluded, each time that it heard. */
  readonly counts: number[] = []

  exclusions(all: readonly Exclusion[]): void {
    this.excluded = all
    this.counts.push(all.length)
  }

  asked(endpoints: readonly string[]): void {
    this.wanted = endpoints
  }
}

async function withAgents(body: (lab: Awaited<ReturnType<typeof setup>>) => Promise<void>): Promise<void> {
  const lab = await setup()
  try {
    await body(lab)
  } finally {
    for (const { source } of lab.agents) await source.stop()
    await lab.controlPlane.stop()
  }
}

async function setup() {
  const cluster = new Cluster()
  cluster.apply(put(aNode('a')))
  const address = { address: '127.0.0.1', port: 0 }
  const notes: Note[] = []
  const tell = (note: Note) => notes.push(note)
  const controlPlane = await startControlPlane({ address, log: silentLog, failureTimes, tell })
  controlPlane.knowledge.changes([put(aSlice([anEndpoint('10.244.9.1')])), put(aPod('pod', '10.244.9.1'))])
  controlPlane.knowledge.synced()
  const agents = ['node1', 'node2', 'node3'].map(nodeName => {
    const findReplicas = hostAddresses([{ host: '127.0.0.1', port: controlPlane.port }], false)
    const direct = () => new DirectSource(cluster, nodeName)
    const source = controlPlaneSource({
      findReplicas,
      nodeName,
      direct,
      patienceMs: 60_000,
      exchangesFailures: true,
      log: silentLog,
    })
    const listener = new ExcludingListener()
    const sees = (seen: Sight['seen']) => source.report!([{ endpoint, seen, since: 1 }])
    return { source, listener, sees }
  })
  for (const { source, listener } of agents) await source.start(listener)
  await until(
    () => agents.every(({ listener }) => listener.timesSynced === 1),
    () => 'agents are not served',
  )
  return { controlPlane, agents, notes }
}

type Agents = Awaited<ReturnType<typeof setup>>['agents']
const all = (agents: Agents, is: (listener: ExcludingListener) => boolean, what: string) =>
  until(
    () => agents.every(({ listener }) => is(listener)),
    () => `${what}: ${JSON.stringify(agents.map(({ listener }) => [listener.wanted, listener.excluded]))}`,
  )

test('one node suspects, all are asked, and all hear what most have found, and when it is over', async () => {
  await withAgents(async ({ agents, controlPlane, notes }) => {
    agents[0]!.sees('suspected')
    await all(agents, ({ wanted }) => wanted.includes(endpoint), 'asked')
    for (const { sees } of agents.slice(0, 2)) sees('timed out')
    await all(agents, ({ excluded }) => excluded.length === 1, 'excluded')
    const page = await controlPlaneMetrics(() => controlPlane.readings()).metrics()
    assert.match(page, /^lightpath_controlplane_excluded\{of="endpoint"\} 1$/m)
    const { name, by, failure } = agents[2]!.listener.excluded[0]!
    assert.deepEqual({ name, by, failure }, { name: endpoint, by: ['node1', 'node2'], failure: 'timed out' })
    for (const { sees } of agents) sees('answers')
    await all(agents, ({ excluded, wanted }) => excluded.length === 0 && wanted.length === 0, 'over')
    assert.deepEqual(
      notes.map(({ object, reason }) => `${object} ${reason}`),
      ['Pod whoami/pod Excluded', 'Pod whoami/pod ExclusionEnded'],
    )
  })
})

test('an exchange that ends alone is opened again', async () => {
  await withAgents(async ({ agents, controlPlane }) => {
    const [first, ...others] = agents
    for (const { sees } of others) sees('timed out')
    await all(agents, ({ excluded }) => excluded.length === 1, 'excluded')
    // Of two streams of a node the control plane ends the older one.
    const stranger = new Client(`127.0.0.1:${controlPlane.port}`, credentials.createInsecure())
    const { path, requestSerialize, responseDeserialize } = failuresService.exchange
    const metadata = sayFormat(new Metadata())
    const call = stranger.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    call.on('error', () => undefined).on('data', () => undefined)
    call.write(encodeReport({ node: 'node1', sights: [] }))
    await all([first!], ({ wanted }) => wanted.length === 0, 'ended')
    await all([first!], ({ wanted }) => wanted.includes(endpoint), 'opened again')
    stranger.close()
  })
})

test('an exchange ends with the stream of facts beside it', async () => {
  const server = new Server()
  const open = { facts: 0, exchanges: 0 }
  let endFacts = () => {}
  const serve = (kind: keyof typeof open) => (call: ServerDuplexStream<Uint8Array, Uint8Array>) => {
    open[kind]++
    call.on('cancelled', () => open[kind]--).on('data', () => undefined)
    call.sendMetadata(sayFormat(new Metadata()))
    if (kind === 'facts') endFacts = () => call.end()
  }
  server.addService(discoveryService, { deltaAggregatedResources: serve('facts') } as UntypedServiceImplementation)
  server.addService(failuresService, { exchange: serve('exchanges') } as UntypedServiceImplementation)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    )
  })
  try {
    const { promise: ended, resolve } = Promise.withResolvers<string>()
    const { promise: accepted, resolve: accept } = Promise.withResolvers<void>()
    const replica = { host: '127.0.0.1', address: `127.0.0.1:${port}` }
    const stream = new FactsStream(replica, undefined, 'node1', {
      ...{ accepted: accept, told: () => undefined, fresh: () => undefined, ended: resolve },
    })
    await accepted
    stream.openExchange()!.on('error', () => undefined)
    const describe = () => JSON.stringify(open)
    await until(() => open.exchanges === 1, describe)
    endFacts()
    await ended
    await until(() => open.exchanges === 0, describe)
    assert.equal(stream.openExchange(), undefined)
  } finally {
    server.forceShutdown()
  }
})

test('exclusions are renewed while there is a control plane, and expire without one', async () => {
  await withAgents(async ({ agents, controlPlane }) => {
    for (const { sees } of agents) sees('refused')
    await all(agents, ({ excluded }) => excluded.length === 1, 'excluded')
    // As often as takes longer than one holds.
    await all(agents, ({ counts }) => counts.length > 12, 'renewed')
    for (const { listener } of agents) assert.ok(!listener.counts.includes(0))
    await controlPlane.stop()
    await all(agents, ({ excluded, wanted }) => excluded.length === 0 && wanted.length === 0, 'expired')
  })
})

test('nobody speaks for another node, nor for any with a token that is bound to none', async () => {
  const create = async (_path: string, object: unknown) => {
    const { spec } = object as { readonly spec: { readonly token?: string; readonly audiences?: unknown } }
    if (spec.token === undefined) return { status: { allowed: true } }
    const extra = spec.token === 'bound' ? { 'authentication.kubernetes.io/node-name': ['node1'] } : {}
    return { status: { authenticated: true, user: { username: 'agent', extra }, audiences: spec.audiences } }
  }
  const bearers = new Bearers(create, { path: '/lightpath/facts', audience: 'lightpath-controlplane' })
  const address = { address: '127.0.0.1', port: 0 }
  const controlPlane = await startControlPlane({ address, log: silentLog, bearers })
  controlPlane.knowledge.synced()
  const client = new Client(`127.0.0.1:${controlPlane.port}`, credentials.createInsecure())
  const { path, requestSerialize, responseDeserialize } = failuresService.exchange
  const endOf = (token: string, ...nodes: readonly string[]) =>
    new Promise<number>(resolve => {
      const metadata = sayFormat(new Metadata())
      metadata.set('authorization', `Bearer ${token}`)
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
      call.on('error', () => undefined).on('data', () => undefined)
      call.on('status', ({ code }) => resolve(code))
      for (const node of nodes) call.write(encodeReport({ node, sights: [] }))
      if (nodes[0] === nodes.at(-1)) call.end()
    })
  try {
    assert.equal(await endOf('bound', 'node1', 'node1'), status.OK)
    assert.equal(await endOf('bound', 'node2', 'node1'), status.INVALID_ARGUMENT)
    assert.equal(await endOf('bound', 'node1', 'node2'), status.INVALID_ARGUMENT)
    assert.equal(await endOf('unbound', 'node1', 'node2'), status.PERMISSION_DENIED)
  } finally {
    client.close()
    await controlPlane.stop()
  }
})
