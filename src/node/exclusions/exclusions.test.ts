import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import type { Sight } from '../../facts/failures.ts'
import { stateOf, TestPlan } from '../../plan/testing.ts'
import type { KubeObject } from '../../services/objects/objects.ts'
import { anEndpoint, aPort, aService, aSlice, put } from '../../services/testing.ts'
import { silentLog, until } from '../../sources/testing.ts'
import { NodeExclusions } from './exclusions.ts'

const excluded: Exclusion = {
  ...{ of: 'endpoint', name: '127.0.0.1:1', failure: 'refused' },
  ...{ since: 0, by: ['node2', 'node3'], isSilent: false },
}
/** A port for Envoy and one for the kernel layer. */
const service = aService({ ports: [aPort(), aPort({ name: 'raw', port: 81 })] })
const slice = aSlice(
  ['127.0.0.1', '127.0.0.2'].map(ip => anEndpoint(ip)),
  {
    ports: [
      { name: 'http', protocol: 'TCP', port: 1 },
      { name: 'raw', protocol: 'TCP', port: 2 },
    ],
  },
)

/** Loopback addresses are those of pods. */
function planOf(...objects: readonly KubeObject[]): TestPlan {
  const plan = new TestPlan({ knowledge: { tellsPods: false, podRanges: ['127.0.0.0/8'] } })
  plan.tell(objects.map(put))
  return plan
}

function setup(plan = planOf(service, slice)) {
  let sights: readonly Sight[] = []
  const exclusions = new NodeExclusions(plan, { report: all => (sights = all) }, silentLog)
  return { plan, exclusions, seen: () => sights.map(({ endpoint, seen }) => `${endpoint} ${seen}`).join() }
}

test('the node connects where its Envoy does, and goes on looking at what its plan leaves out', async () => {
  const { plan, exclusions, seen } = setup()
  const raw = '127.0.0.1:2 not used'
  try {
    exclusions.reachability.ask(['127.0.0.1:1', '127.0.0.1:2'])
    await until(() => seen() === `127.0.0.1:1 refused,${raw}`, seen)
    const { ports } = exclusions.set([excluded])
    assert.deepEqual(
      ports.map(({ id }) => id),
      ['whoami/whoami/http'],
    )
    assert.deepEqual(
      stateOf(plan).endpoints.map(({ ip }) => ip),
      ['127.0.0.2'],
    )
    exclusions.reachability.ask(['127.0.0.1:1'])
    assert.equal(seen(), '127.0.0.1:1 refused')
    exclusions.set([])
    assert.equal(stateOf(plan).endpoints.length, 2)
  } finally {
    exclusions.reachability.stop()
  }
})

test('nothing is connected to where nobody is told', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  let connections = 0
  server.on('connection', () => connections++)
  const { port } = server.address() as { readonly port: number }
  const ports = [{ name: 'http', protocol: 'TCP', port }] as const
  const plan = planOf(aService(), aSlice([anEndpoint('127.0.0.1')], { ports }))
  const alone = new NodeExclusions(plan, {}, silentLog)
  const heard = setup(plan).exclusions
  try {
    alone.suspect(`127.0.0.1:${port}`)
    heard.suspect(`127.0.0.1:${port}`)
    await until(
      () => connections > 0,
      () => 'nobody connects',
    )
    assert.equal(connections, 1)
  } finally {
    for (const one of [alone, heard]) one.reachability.stop()
    server.close()
  }
})

test('only what Envoy uses may be suspected, and only once', () => {
  const { exclusions } = setup()
  const may = () => ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.3:1'].filter(one => exclusions.maySuspect(one))
  try {
    assert.deepEqual(may(), ['127.0.0.1:1'])
    exclusions.suspect('127.0.0.1:1')
    assert.deepEqual(may(), [])
  } finally {
    exclusions.reachability.stop()
  }
})
