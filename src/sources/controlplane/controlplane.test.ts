import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js'
import { Knowledge } from '../../controlplane/knowledge/knowledge.ts'
import { decodeSnapshot, encodeSnapshot } from '../../controlplane/knowledge/snapshot.ts'
import type { ControlPlane } from '../../controlplane/server.ts'
import { describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { aNamespace, aNode, aPod, aService, put, remove } from '../../services/testing.ts'
import { type RecordingListener, silentLog, until } from '../testing.ts'
import { type Lab, testLab } from './lab.ts'

const service = (name: string, label = '') => aService({ namespace: 'shop', name, labels: { label } })

const has = (listener: RecordingListener, object: KubeObject) => () =>
  isDeepStrictEqual(listener.objects.get(describeKey(keyOf(object))), object)
const says = (listener: RecordingListener) => () => listener.history.join(', ')

testLab('agents of two nodes get everything, of Nodes and Pods their own, and then what changes', async lab => {
  const pods = ['node1', 'node2'].map(nodeName => aPod(`pod-${nodeName}`, '10.0.0.1', { nodeName }))
  lab.cluster.apply(
    ...[service('cart'), aNamespace('shop'), aNode('a', 'node1'), aNode('a', 'node2'), ...pods].map(put),
  )
  const { port } = await lab.replica()
  const agents = [await lab.agent([port]), await lab.agent([port], { nodeName: 'node2' })]
  for (const [i, { listener }] of agents.entries()) {
    await until(() => listener.timesSynced === 1, says(listener))
    assert.deepEqual([...listener.objects.keys()].sort(), [
      'Namespace shop',
      `Node node${i + 1}`,
      `Pod whoami/pod-node${i + 1}`,
      'Service shop/cart',
    ])
  }
  lab.cluster.apply(put(service('cart', 'new')), remove(aNamespace('shop')))
  for (const { listener } of agents) {
    await until(has(listener, service('cart', 'new')), says(listener))
    await until(() => !listener.objects.has('Namespace shop'), says(listener))
    assert.deepEqual([listener.phantoms, listener.timesSynced], [[], 1])
  }
})

testLab('an agent that needs the Pods of a namespace has them before it says that all is known', async lab => {
  const pod = aPod('cart-1', '10.0.0.1', { namespace: 'shop', nodeName: 'node2' })
  lab.cluster.apply(put(service('cart')), put(pod))
  const { port } = await lab.replica()
  const { source, listener } = await lab.agent([port])
  const changes = listener.changes.bind(listener)
  listener.changes = told => {
    changes(told)
    source.needPods!(new Set(['shop']))
  }
  await until(() => listener.timesSynced === 1, says(listener))
  assert.ok(has(listener, pod)())
})

testLab('when a replica ends, the agent goes on with another, and tells only what is new', async lab => {
  lab.cluster.apply(put(service('cart')), put(service('old')))
  const [first, second] = [await lab.replica(), await lab.replica()]
  const { listener } = await lab.agent([first.port, second.port])
  await until(() => listener.timesSynced === 1, says(listener))
  // What happens while its stream is down is not missed.
  first.letGo()
  lab.cluster.apply(put(service('cart', 'one')), remove(service('old')))
  await first.stop()
  await until(has(listener, service('cart', 'one')), says(listener))
  await until(() => !listener.objects.has('Service shop/old'), says(listener))
  await lab.replica(first.port)
  second.letGo()
  lab.cluster.apply(put(service('cart', 'two')))
  await second.stop()
  await until(has(listener, service('cart', 'two')), says(listener))
  assert.deepEqual(listener.phantoms, [])
  assert.equal(lab.timesDirect, 0)
})

testLab('a replica that is behind undoes nothing, and is believed when it has caught up', async lab => {
  lab.cluster.apply(put(service('cart')), put(service('old')))
  const [ahead, behind] = [await lab.replica(), await lab.replica()]
  behind.letGo()
  lab.cluster.apply(put(service('cart', 'new')), put(service('added')), remove(service('old')))
  const { listener } = await lab.agent([ahead.port])
  await until(() => listener.timesSynced === 1, says(listener))
  await ahead.stop()
  // The agent finds another process at the address that it was given.
  await behind.stop()
  const late = await lab.replica(ahead.port, false)
  const old = { cart: '101', old: '102' }
  late.knowledge.changes(
    Object.entries(old).map(([name, version]) => ({ type: 'put', object: service(name), version })),
  )
  late.knowledge.progress({ kind: 'Service', scope: '*' }, '102')
  const before = listener.history.length
  late.knowledge.synced()
  // Between these two the agent was told of the Services.
  for (const name of ['x', 'y']) {
    late.knowledge.changes([put(aNamespace(name))])
    await until(has(listener, aNamespace(name)), says(listener))
  }
  assert.deepEqual(listener.history.slice(before), ['put Namespace x', 'put Namespace y'])
  late.knowledge.changes([{ type: 'put', object: service('cart', 'newest'), version: '106' }])
  late.knowledge.progress({ kind: 'Service', scope: '*' }, '107')
  await until(has(listener, service('cart', 'newest')), says(listener))
  // What it does not have at that version is gone.
  await until(() => !listener.objects.has('Service shop/added'), says(listener))
  assert.ok(!listener.objects.has('Service shop/old'))
  assert.deepEqual(listener.phantoms, [])
})

testLab('without a control plane the agent says so, goes to the API server after a while, and back', async lab => {
  lab.cluster.apply(put(service('cart')))
  const first = await lab.replica()
  const { listener } = await lab.agent([first.port], { patienceMs: 300 })
  await until(() => listener.timesSynced === 1, says(listener))
  await first.stop()
  lab.cluster.apply(put(service('cart', 'direct')))
  await until(has(listener, service('cart', 'direct')), says(listener))
  assert.equal(lab.timesDirect, 1)
  await until(() => listener.told().some(line => line.startsWith('LP106 control plane')), says(listener))
  const second = await lab.replica(first.port)
  await until(() => listener.told().length === 0, says(listener))
  lab.cluster.apply(put(service('cart', 'back')))
  await until(has(listener, service('cart', 'back')), says(listener))
  assert.deepEqual([listener.phantoms, listener.timesSynced, lab.timesDirect], [[], 1, 1])
  await second.stop()
})

testLab('a replica that does not know everything yet serves nobody', async lab => {
  lab.cluster.apply(put(service('cart')))
  const [unsynced, synced] = [await lab.replica(0, false), await lab.replica()]
  const { listener } = await lab.agent([unsynced.port, synced.port])
  await until(() => listener.timesSynced === 1, says(listener))
  assert.ok(has(listener, service('cart'))())
})

for (const [does, handle] of [
  ['ends each', (call: ServerDuplexStream<Uint8Array, Uint8Array>) => setTimeout(() => call.end(), 10)],
  ['tells nothing', () => undefined],
] as const) {
  testLab(`an agent goes on with the API server beside a control plane that accepts streams and ${does}`, async lab => {
    lab.cluster.apply(put(service('cart')))
    const { port, accepted } = await lab.replicaThat(handle)
    const { listener } = await lab.agent([port], { patienceMs: 100 })
    await until(() => listener.timesSynced === 1, says(listener))
    const before = accepted()
    await until(() => accepted() > before + 1, says(listener))
    lab.cluster.apply(put(service('cart', 'new')))
    await until(has(listener, service('cart', 'new')), says(listener))
    assert.deepEqual([listener.phantoms, lab.timesDirect], [[], 1])
  })
}

testLab('an agent that had all Pods and needs fewer follows those by the API server', async lab => {
  const pod = (name: string) => aPod(name, '10.0.0.1', { namespace: 'ns1', nodeName: 'node2' })
  lab.cluster.apply(put(pod('old')), put(pod('new')))
  const replica = await lab.replica()
  const { source, listener } = await lab.agent([replica.port], { patienceMs: 100 })
  const namespaces = new Set(Array.from({ length: 17 }, (_, i) => `ns${i}`))
  source.needPods!(namespaces)
  await until(() => listener.objects.size === 2, says(listener))
  namespaces.delete('ns16')
  source.needPods!(namespaces)
  await replica.stop()
  lab.cluster.apply(remove(pod('old')))
  await until(() => !listener.objects.has('Pod ns1/old'), says(listener))
  lab.cluster.apply(remove(pod('new')), put(pod('newest')))
  await until(has(listener, pod('newest')), says(listener))
  await until(() => !listener.objects.has('Pod ns1/new'), says(listener))
  assert.equal(lab.timesDirect, 1)
})

testLab('an agent can be stopped while it looks for a replica', async lab => {
  const { port } = await lab.replica()
  const { source } = await lab.agent([port])
  let isStopped = false
  source.stop().then(() => (isStopped = true))
  await until(
    () => isStopped,
    () => 'it goes on',
  )
})

testLab('an agent asks the control plane itself, and no proxy of the environment', async lab => {
  const { port } = await lab.replica()
  const before = process.env.grpc_proxy
  process.env.grpc_proxy = 'http://127.0.0.1:1'
  try {
    const { listener } = await lab.agent([port])
    await until(() => listener.timesSynced === 1, says(listener))
  } finally {
    if (before === undefined) delete process.env.grpc_proxy
    else process.env.grpc_proxy = before
  }
})

testLab('a control plane of another format is told apart by name, and tells the agent nothing', async lab => {
  const metadata = new Metadata()
  metadata.set('lightpath-facts-format', '7')
  const { port } = await lab.replicaThat(() => undefined, metadata)
  const { listener } = await lab.agent([port])
  await until(
    () => listener.told().length > 0,
    () => listener.history.join(),
  )
  assert.match(listener.told()[0]!, /LP106.*says format 7 of facts, and this one speaks format 1/)
})

/** What a replica that starts from a snapshot knows. */
function restore(lab: Lab, { knowledge }: ControlPlane): void {
  const { store } = new Knowledge(() => undefined, silentLog)
  lab.cluster.watch({ changes: changes => store.apply(changes) }, [{ kind: 'Service', scope: '*' }])
  knowledge.restore(decodeSnapshot(encodeSnapshot(store, Date.UTC(2026, 0, 1))))
}

testLab('an agent of a replica that is cut off is served by it, says so, and goes to one that is not', async lab => {
  lab.cluster.apply(put(aNode('a')), put(aNamespace('shop')), put(service('cart')))
  const [cutOff, other] = [await lab.replica(0, false), await lab.replica(0, false)]
  for (const replica of [cutOff, other]) restore(lab, replica)
  const { listener } = await lab.agent([cutOff.port, other.port], { searchMs: 20 })
  await until(
    () => listener.timesSynced === 1 && listener.told().length > 0,
    () => listener.history.join(),
  )
  const says = /LP107.*127.0.0.1:(\d+) has had no word of the API server since 2026-01-01T00:00:00/
  const [, port] = says.exec(listener.told()[0]!) ?? []
  assert.equal(listener.objects.size, 1)
  const elsewhere = Number(port) === cutOff.port ? other : cutOff
  lab.cluster.follow(elsewhere.knowledge)
  await until(
    () => elsewhere.readings().streams === 1 && listener.told().length === 0 && listener.objects.size === 3,
    () => listener.history.join(),
  )
  assert.equal(lab.timesDirect, 0)
})

testLab('an agent hears at once that its replica can read the API server again, however soon that is', async lab => {
  lab.cluster.apply(put(aNode('a')), put(service('cart')))
  const replica = await lab.replica(0, false, 3600e3)
  restore(lab, replica)
  const { listener } = await lab.agent([replica.port])
  await until(
    () => /LP107/.test(listener.told().join()),
    () => listener.history.join(),
  )
  lab.cluster.follow(replica.knowledge)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join(),
  )
})
