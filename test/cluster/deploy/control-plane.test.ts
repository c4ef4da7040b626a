/** Control planes as deploy/components/controlplane installs them, on a cluster of two nodes. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually, isRoot, lightpath, Nodes, nodes } from '../nodes.ts'

const skip = isRoot ? false : 'needs root'
const url = 'http://whoami.whoami.svc.cluster.local'
const component = 'app.kubernetes.io/component'

describe('control planes', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    cluster = await Nodes.deployed('routed', 'controlplane', '--control-plane-patience=10s')
  })
  after(() => cluster?.down())

  const ours = (...args: readonly string[]) => cluster.kubectl('-n', 'lightpath-system', ...args)
  const podsOf = async (name: string) => {
    const found = await ours('get', 'pods', '-l', `${component}=${name}`, '-o', 'name')
    return found.trim().split('\n')
  }
  const sample = async (pod: string, name: string) => {
    const page = await cluster.askForwarded(pod, 9000, '/metrics')
    return Number(new RegExp(`^lightpath_controlplane_${name} (.*)$`, 'm').exec(page)?.[1])
  }
  /** Others may be gone when they are asked. */
  const readyReplicas = async () => {
    const ready = '{.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}'
    const slices = ['endpointslices', '-l', 'kubernetes.io/service-name=lightpath-controlplane']
    const names = await ours('get', ...slices, '-o', `jsonpath=${ready}`)
    return names.split(' ').map(name => `pod/${name}`)
  }
  const streams = async () => {
    const counts = await Promise.all((await readyReplicas()).map(pod => sample(pod, 'streams')))
    return counts.reduce((sum, count) => sum + count, 0)
  }
  const served = () =>
    eventually(180, async () => {
      assert.equal(await streams(), nodes.length)
    })
  const reachesEnvoy = (node: number) =>
    eventually(60, async () => assert.match(await cluster.curl(node, url), /X-Envoy-Attempt-Count: 1/i))
  /** A replica writes down the tokens of its agents each minute, and with them what it knows where that has changed. */
  const untilWrittenDown = (replica: string) => {
    const secondOf = async (file: string) =>
      Number(await ours('exec', replica, '--', 'stat', '-c', '%Y', `/var/lib/lightpath/${file}`))
    const since = Date.now() / 1000
    return eventually(120, async () => {
      assert.ok((await secondOf('tokens')) > since)
      assert.ok(await secondOf('facts'))
    })
  }
  /** Ends the first process of a pod's container in so many seconds, whether there is an API server or not. */
  const endLater = (pod: string, seconds: number) =>
    ours('exec', pod, '--', 'sh', '-c', `(sleep ${seconds}; kill 1) >/dev/null 2>&1 &`)
  const problemsOf = (node: number) => lightpath('status', '--socket', cluster.socket(node), '--output', 'json')
  const withoutApiServer = async (body: () => Promise<void>) => {
    await cluster.apiServer('stop')
    try {
      await body()
    } finally {
      await cluster.apiServer('start')
    }
  }

  test('serve every agent once the kubelets have written whom to trust', async () => {
    await served()
    for (const node of nodes) {
      await reachesEnvoy(node)
      assert.doesNotMatch(await problemsOf(node), /LP10[567]/)
    }
    const [pod] = await podsOf('controlplane')
    assert.ok((await sample(pod!, 'resources\\{type="EndpointSlice"\\}')) > 1)
    assert.equal(await sample(pod!, 'facts_age_seconds'), 0)
  })

  test('hand their agents to each other in a rolling update, and no request fails', async () => {
    const load = await cluster.load(1, await cluster.url('whoami'), '--rate', '100', '--connections', '10', '--fresh')
    await ours('rollout', 'restart', 'deployment/lightpath-controlplane')
    await ours('rollout', 'status', 'deployment/lightpath-controlplane', '--timeout', '180s')
    await served()
    assert.deepEqual((await load.end()).errors, {})
  })

  test('give agents and each other all that they need while the API server is away', async () => {
    const agents = await podsOf('node')
    const replicas = await readyReplicas()
    await Promise.all(replicas.map(untilWrittenDown))
    for (const pod of [...agents, ...replicas]) await endLater(pod, 20)
    await withoutApiServer(async () => {
      await delay(30_000)
      await eventually(120, async () => {
        for (const node of nodes) {
          const status = await problemsOf(node)
          assert.match(status, /LP107/)
          assert.match(await lightpath('services', '--socket', cluster.socket(node)), /whoami/)
        }
      })
    })
    await served()
    await eventually(120, async () => {
      for (const node of nodes) assert.doesNotMatch(await problemsOf(node), /LP107/)
    })
    for (const node of nodes) await reachesEnvoy(node)
  })

  test('leave agents to the API server when there is none', async () => {
    await ours('scale', 'deployment/lightpath-controlplane', '--replicas', '0')
    await eventually(120, async () => {
      for (const node of nodes) assert.match(await problemsOf(node), /LP106/)
    })
    await cluster.kubectl('rollout', 'restart', 'deployment/whoami')
    await cluster.rolledOut('deployment/whoami')
    for (const node of nodes) await reachesEnvoy(node)
    await ours('scale', 'deployment/lightpath-controlplane', '--replicas', '2')
    await served()
  })
})
