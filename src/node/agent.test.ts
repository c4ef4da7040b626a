import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { metadataOfModule } from '../envoy/program/module.ts'
import { typeUrls } from '../envoy/resource.ts'
import type { KernelBackend } from '../kernel/backend.ts'
import { empty } from '../kernel/testing/empty/backend.ts'
import { EmptyLayer } from '../kernel/testing/empty/layer.ts'
import { testOptions } from '../kernel/testing/states.ts'
import type { Change } from '../services/objects/objects.ts'
import { parseObject } from '../services/parse/parse.ts'
import { directorySource } from '../sources/directory/directory.ts'
import type { Source, SourceListener } from '../sources/source.ts'
import { silentLog, until } from '../sources/testing.ts'
import { Agent } from './agent.ts'
import type { AgentOptions } from './options.ts'

function agentOptions(backend: KernelBackend, directory: string): AgentOptions {
  return {
    ...testOptions,
    backend,
    envoySockets: join(directory, 'envoy'),
    families: ['IPv4'],
    services: 'all',
    envoyUser: process.getgid!(),
    redirectPort: 1666,
    reservedPorts: new Set(),
    clientAddress: { setting: 'forwarded-for', mode: 'forwarded-for', why: '' },
    provesClientAddress: false,
    drainTime: 0,
    accessLogRate: 50,
    writeAccessLog: () => {},
    envoyPortsPerService: 100,
    envoyPortsPerNamespace: 2500,
    envoyPorts: 1000,
    envoyEndpointsPerPort: 1000,
    lbPolicy: 'LEAST_REQUEST',
    firstBytesTimeout: 1000,
    maxExcluded: 50,
    pathTest: false,
  }
}

test('an agent works with any backend: one in a folder of its own gets all Service ports', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-backend-'))
  const layers: EmptyLayer[] = []
  const backend: KernelBackend = {
    ...empty,
    create: () => {
      layers.push(new EmptyLayer())
      return layers.at(-1)!
    },
  }
  const agent = new Agent(agentOptions(backend, directory), directorySource('examples', { log: silentLog }), silentLog)
  try {
    await agent.start()
    await until(
      () => layers[0]!.isSynced,
      () => 'the backend is not synced',
    )
    const states = [...agent.plan.states()]
    assert.ok(states.length > 0)
    assert.deepEqual([...layers[0]!.ports.keys()].sort(), states.map(({ id }) => id).sort())
    const external = states.flatMap(state => state.external?.layer.wants ?? [])
    assert.deepEqual(new Set(external), new Set(['kernel']), 'external addresses that the backend cannot serve')
  } finally {
    await agent.stop()
    rmSync(directory, { recursive: true })
  }
})

/** Says what a test has it say. */
class TestSource implements Source {
  listener!: SourceListener

  async start(listener: SourceListener): Promise<void> {
    this.listener = listener
  }

  put(...objects: readonly object[]): void {
    this.listener.changes(objects.map((raw): Change => ({ type: 'put', object: parseObject(raw).object! })))
  }

  async stop(): Promise<void> {}
}

/** Takes as long as a test wants to write. */
class SlowLayer extends EmptyLayer {
  readonly written = Promise.withResolvers<void>()

  override async synced(): Promise<void> {
    await super.synced()
    await this.written.promise
  }
}

function service(name: string, clusterIP: string, endpoint: string): readonly object[] {
  const metadata = { namespace: 'shop', name }
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' }]
  const labels = { 'kubernetes.io/service-name': name }
  return [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { type: 'ClusterIP', clusterIP, ports } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels },
      addressType: 'IPv4',
      ports,
      endpoints: [{ addresses: [endpoint], targetRef: { kind: 'Pod', namespace: 'shop', name } }],
    },
  ]
}

async function startAgent(t: { after(end: () => Promise<void>): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-start-'))
  const [source, kernel] = [new TestSource(), new SlowLayer()]
  const agent = new Agent(agentOptions({ ...empty, create: () => kernel }, directory), source, silentLog)
  t.after(async () => {
    kernel.written.resolve()
    await agent.stop()
    rmSync(directory, { recursive: true })
  })
  await agent.start()
  return { agent, source, kernel, clusters: () => agent.envoy.store.size(typeUrls.cluster) }
}

test('the kernel layer gets nothing before the source has told everything, and Envoy nothing before the kernel has it', async t => {
  const { source, kernel, clusters } = await startAgent(t)
  source.put(...service('web', '10.96.0.1', '10.1.0.1'))
  assert.deepEqual([kernel.ports.size, kernel.isSynced], [0, false])
  source.put(...service('api', '10.96.0.2', '10.1.0.2'))
  source.listener.synced()
  await until(
    () => kernel.isSynced,
    () => 'the kernel layer is not synced',
  )
  assert.deepEqual([[...kernel.ports.keys()].sort(), clusters()], [['shop/api/http', 'shop/web/http'], 0])

  // What changes meanwhile is in the kernel at once, and in Envoy with all the rest.
  source.put(...service('cart', '10.96.0.3', '10.1.0.3'))
  assert.deepEqual([kernel.ports.size, clusters()], [3, 0])
  kernel.written.resolve()
  await until(
    () => clusters() === 3,
    () => `Envoy has ${clusters()} clusters`,
  )
})

test('what is made for Envoy at first is what an Envoy with the module gets, and one without gets it without', async t => {
  const { agent, source, kernel, clusters } = await startAgent(t)
  source.put(...service('web', '10.96.0.1', '10.1.0.1'))
  kernel.written.resolve()
  source.listener.synced()
  await until(
    () => clusters() === 1,
    () => 'Envoy has no cluster',
  )
  const { store, observer } = agent.envoy
  const versions = () =>
    store.types().flatMap(type => [...store.names(type)].map(name => `${name} ${store.get(type, name)!.version}`))
  const connect = (id: number, hasModule: boolean) => {
    const metadata = new Map(Object.entries(metadataOfModule(hasModule)))
    observer.connected({ id, nodeId: 'node1', envoyVersion: '1.40.0', extensions: [], metadata })
  }
  const atFirst = versions()
  connect(1, true)
  assert.deepEqual(versions(), atFirst)
  connect(2, false)
  assert.notDeepEqual(versions(), atFirst)
})

test('an agent that is stopped while the kernel layer is written begins nothing for Envoy', async t => {
  const { agent, source, kernel, clusters } = await startAgent(t)
  source.put(...service('web', '10.96.0.1', '10.1.0.1'))
  source.listener.synced()
  await until(
    () => kernel.isSynced,
    () => 'the kernel layer is not synced',
  )
  const stopped = agent.stop()
  kernel.written.resolve()
  await stopped
  assert.equal(clusters(), 0)
})
