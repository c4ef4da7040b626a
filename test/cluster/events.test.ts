import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { waitFor } from '../../src/demo/wait.ts'
import { problem } from '../../src/services/problem.ts'
import { EventRecorder } from '../../src/sources/events.ts'
import { silentLog } from '../../src/sources/testing.ts'
import { ApiServerProcess, adminToken, guestToken, noApiServer } from './apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const recorders: EventRecorder[] = []
const until = (what: string, ask: () => boolean | Promise<boolean>) => waitFor(what, 20_000, ask)

before(async () => {
  if (noApiServer === undefined) await server.start()
})

after(async () => {
  for (const recorder of recorders) await recorder.stop()
  await server.stop()
})

function recorder(name: string, token: string): EventRecorder {
  const kubeconfig = server.kubeconfig(name, `token: ${token}`)
  const made = new EventRecorder({ kubeconfig, nodeName: 'node1', log: silentLog })
  recorders.push(made)
  return made
}

const wrong = (service: string, code: 'LP201' | 'LP301' = 'LP201') =>
  problem(code, `Service default/${service}`, 'something is wrong', 'put it right')

async function events(service: string) {
  const query = `fieldSelector=involvedObject.name=${service}`
  return (await server.must('GET', `/api/v1/namespaces/default/events?${query}`)).items as Record<string, unknown>[]
}

test(
  'a problem of a Service is an Event on it, with reason, code and remedy; other problems are none',
  options,
  async () => {
    const events1 = recorder('teller', adminToken)
    events1.record(problem('LP105', 'Kubernetes API', 'not reachable', 'wait'))
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

test('a problem of a Node is an Event on it that kubectl describe node shows', options, async () => {
  const teller = recorder('teller-of-nodes', adminToken)
  teller.record(problem('LP402', 'Node node7', 'pods do not reach Envoy', 'open the firewall'))
  await until('the Event', async () => (await events('node7')).length === 1)
  const [event] = await events('node7')
  const { reason, message, involvedObject } = event!
  assert.deepEqual(
    [reason, message, involvedObject],
    [
      'PathToEnvoyBlocked',
      'LP402 Node node7: pods do not reach Envoy; open the firewall',
      { apiVersion: 'v1', kind: 'Node', name: 'node7', uid: 'node7' },
    ],
  )
})

test('a Service with many problems has 25 Events; other Services still have theirs', options, async () => {
  const talkative = recorder('talkative', adminToken)
  for (let i = 0; i < 40; i++) talkative.record(wrong('talkative'))
  talkative.record(wrong('quiet'))
  await until('the Event', async () => (await events('quiet')).length === 1)
  assert.deepEqual([(await events('talkative')).length, talkative.dropped], [25, 15])
})

test('the queue has a bound at which the oldest Events are dropped and counted', options, async () => {
  const flooded = recorder('flooded', guestToken)
  for (let i = 0; i < 1200; i++) flooded.record(wrong(`service-${i}`))
  assert.ok(flooded.dropped >= 198 && flooded.dropped <= 200, String(flooded.dropped))
})

test('Events that the API server refuses are dropped and counted', options, async () => {
  const denied = recorder('denied', guestToken)
  denied.record(wrong('denied'))
  await until('the Event', () => denied.dropped === 1)
  assert.deepEqual(await events('denied'), [])
})
