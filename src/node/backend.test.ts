import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { KernelBackend } from '../kernel/backend.ts'
import { empty } from '../kernel/testing/empty/backend.ts'
import { EmptyLayer } from '../kernel/testing/empty/layer.ts'
import { testOptions } from '../kernel/testing/states.ts'
import { directorySource } from '../sources/directory/directory.ts'
import { silentLog, until } from '../sources/testing.ts'
import { Agent } from './agent.ts'

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
  const agent = new Agent(
    {
      ...testOptions,
      backend,
      families: ['IPv4'],
      services: 'all',
      envoySockets: join(directory, 'envoy'),
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
    },
    directorySource('examples', { log: silentLog }),
    silentLog,
  )
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
