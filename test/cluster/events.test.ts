import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { run } from '../../src/lab/processes.ts'
import { waitFor } from '../../src/lab/wait.ts'
import { type Note, noteOf } from '../../src/services/note.ts'
import { problem } from '../../src/services/problem.ts'
import { EventRecorder } from '../../src/sources/events.ts'
import { silentLog } from '../../src/sources/testing.ts'
import { ApiServerProcess, adminToken, guestToken, noApiServer, noKubectl, programs } from './apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const recorders: EventRecorder[] = []
const uids = new Map<string, string>()
const until = (what: string, ask: () => boolean | Promise<boolean>) => waitFor(what, 60_000, ask)

before(async () => {
  if (noApiServer === undefined) await server.start()
})

after(async () => {
  for (const recorder of recorders) await recorder.stop()
  await server.stop()
})

function recorder(name: string, token = adminToken, host = 'node1'): EventRecorder {
  const kubeconfig = server.kubeconfig(name, `token: ${token}`)
  const uidOf = (_kind: string, namespace: string, service: string) => uids.get(`${namespace}/${service}`)
  const made = new EventRecorder({ kubeconfig, host, uidOf, log: silentLog })
  recorders.push(made)
  return made
}

/** Told each time. */
const note = (service: string, message = 'something happened'): Note => ({
  object: `Service default/${service}`,
  type: 'Normal',
  reason: 'EnvoyEnabled',
  message,
})
const wrong = (service: string, code: 'LP201' | 'LP301' = 'LP201') =>
  noteOf(problem(code, `Service default/${service}`, 'something is wrong', 'put it right'))

async function events(name: string) {
  const query = `fieldSelector=involvedObject.name=${name}`
  return (await server.must('GET', `/api/v1/namespaces/default/events?${query}`)).items as Record<string, unknown>[]
}

test(
  'a problem of a Service is an Event on it, with reason, code and remedy; other problems are none',
  options,
  async () => {
    const events1 = recorder('teller')
    events1.record(noteOf(problem('LP105', 'Kubernetes API', 'not reachable', 'wait')))
    events1.record(wrong('told', 'LP301'))
    await until('the Event', async () => (await events('told')).length === 1)
    const [event] = await events('told')
    const { type, reason, message, source } = event!
    assert.deepEqual(
      [type, reason, message, source],
      [
        'Warning',
        'RefusedByEnvoy',
        'LP301 Service default/told: something is wrong; put it right',
        { component: 'lightpath', host: 'node1' },
      ],
    )
    assert.equal(events1.dropped, 0)
  },
)

test('kubectl describe shows the Events of a Service, and those of the node', {
  ...options,
  skip: noApiServer ?? noKubectl,
}, async () => {
  const spec = { ports: [{ port: 80 }], clusterIP: '10.96.0.99' }
  const metadata = { name: 'described', namespace: 'default' }
  const made = await server.must('POST', '/api/v1/namespaces/default/services', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec,
  })
  await server.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' } })
  const events1 = recorder('describer')
  events1.record(note('described', 'Port http promoted to Envoy'))
  events1.record(noteOf(problem('LP402', 'Node node1', 'pods do not reach Envoy', 'open the firewall')))
  // The source tells what is wrong with an object before the object.
  uids.set('default/described', String((made.metadata as { uid: string }).uid))
  for (const name of ['described', 'node1']) await until(name, async () => (await events(name)).length === 1)
  const kubeconfig = server.kubeconfig('kubectl', `token: ${adminToken}`)
  const describe = async (...what: readonly string[]) =>
    (await run(join(programs, 'kubectl'), ['--kubeconfig', kubeconfig, 'describe', ...what])).stdout
  assert.match(await describe('service', 'described'), /Normal +EnvoyEnabled .*lightpath +Port http promoted to Envoy/)
  assert.match(
    await describe('node', 'node1'),
    /Warning +PathToEnvoyBlocked .*lightpath +LP402 Node node1: pods do not reach Envoy; open/,
  )
})

test(
  'what is wrong with a Service itself is one Event, whichever nodes find it and how often they start',
  options,
  async () => {
    const nodes = [recorder('first'), recorder('second', adminToken, 'node2'), recorder('restarted')]
    for (const node of nodes) {
      node.record(wrong('everywhere'))
      node.record(wrong('refused', 'LP301'))
      node.record(note('moved'))
      node.record(note('moved'))
    }
    await until('the Events', async () => (await events('moved')).length === 6)
    assert.equal((await events('everywhere')).length, 1)
    assert.deepEqual((await events('refused')).map(({ source }) => (source as { host: string }).host).sort(), [
      'node1',
      'node2',
    ])
    assert.deepEqual(
      nodes.map(({ dropped }) => dropped),
      [0, 0, 0],
    )
  },
)

test('a Service with many problems has 25 Events; other Services still have theirs', options, async () => {
  const talkative = recorder('talkative')
  for (let i = 0; i < 40; i++) talkative.record(note('talkative'))
  talkative.record(wrong('quiet'))
  await until('the Event', async () => (await events('quiet')).length === 1)
  assert.deepEqual([(await events('talkative')).length, talkative.dropped], [25, 15])
})

test('a Service of another namespace waits for no flood of Events', options, async () => {
  const busy = recorder('busy')
  for (let i = 0; i < 1000; i++) busy.record(note(`busy-${i}`))
  busy.record({ ...note('calm'), object: 'Service kube-system/calm' })
  const query = 'fieldSelector=involvedObject.name=calm'
  await until('the Event', async () => {
    const { items } = await server.must('GET', `/api/v1/namespaces/kube-system/events?${query}`)
    return (items as unknown[]).length === 1
  })
  const { items } = await server.must('GET', '/api/v1/namespaces/default/events')
  const told = (items as { involvedObject: { name: string } }[]).filter(({ involvedObject }) =>
    involvedObject.name.startsWith('busy-'),
  )
  assert.ok(told.length < 500, `${told.length} Events`)
})

test('the queue has a bound at which the oldest Events are dropped and counted', options, async () => {
  const flooded = recorder('flooded', guestToken)
  for (let i = 0; i < 1200; i++) flooded.record(wrong(`service-${i}`))
  assert.equal(flooded.dropped, 200)
})

test('Events that the API server refuses are dropped and counted', options, async () => {
  const denied = recorder('denied', guestToken)
  denied.record(wrong('denied'))
  await until('the Event', () => denied.dropped === 1)
  assert.deepEqual(await events('denied'), [])
})
