/** What a user of a real cluster relies on, without kube-proxy and beside it. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually, isRoot, lightpath, Nodes, nodes } from './nodes.ts'

const skip = isRoot ? false : 'needs root'
const proxyName = 'service.kubernetes.io/service-proxy-name'
const whoami = 'http://whoami.whoami.svc.cluster.local'

/** A Service as the API server stores it, and its only endpoint. */
const meanwhileIP = '10.96.200.200'
const metadata = { name: 'meanwhile', namespace: 'whoami', creationTimestamp: '2026-01-01T00:00:00Z' }
const meanwhileService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { ...metadata, uid: '00000000-0000-4000-8000-000000000001' },
  spec: {
    type: 'ClusterIP',
    clusterIP: meanwhileIP,
    clusterIPs: [meanwhileIP],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    internalTrafficPolicy: 'Cluster',
    sessionAffinity: 'None',
    ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
  },
}
const meanwhileSlice = (podIP: string) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    ...metadata,
    uid: '00000000-0000-4000-8000-000000000002',
    labels: { 'kubernetes.io/service-name': 'meanwhile' },
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: [{ addresses: [podIP], conditions: { ready: true, serving: true, terminating: false } }],
})

describe('on a cluster of two nodes without kube-proxy', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    cluster = await Nodes.up('none', [])
  })
  after(() => cluster?.down())

  for (const node of nodes) {
    for (const family of ['-4', '-6']) {
      test(`a pod on node${node} reaches whoami by its name through Envoy (curl ${family})`, async () => {
        const answer = await eventually(30, async () => {
          const text = await cluster.curl(node, family, whoami)
          assert.match(text, /X-Envoy-Attempt-Count: 1/i)
          return text
        })
        assert.match(answer, /^HTTP\/1.1 200/)
        assert.match(answer, /X-Envoy-Expected-Rq-Timeout-Ms: 5000/i)
        assert.match(answer, /X-Forwarded-Proto: http/i)
        assert.match(answer, /X-Request-Id: /i)
      })
    }
  }

  test('pods of both nodes answer', async () => {
    const hosts = new Set<string>()
    await eventually(30, async () => {
      const text = await cluster.curl(1, whoami)
      hosts.add(/^Hostname: (.*)$/m.exec(text)![1]!.trim())
      assert.equal(hosts.size, 4)
    })
  })

  test('three rolling updates of six pods under 300 requests/s lose none', async t => {
    await cluster.kubectl('scale', 'deployment/whoami', '--replicas', '6')
    await cluster.rolledOut('deployment/whoami')
    const load = await cluster.load(1, await cluster.url('whoami'), '--rate', '300', '--connections', '30')
    for (let round = 0; round < 3; round++) {
      await cluster.kubectl('rollout', 'restart', 'deployment/whoami')
      await cluster.rolledOut('deployment/whoami')
    }
    const report = await load.end()
    assert.deepEqual(report.errors, {})
    t.diagnostic(`${report.ok} requests`)
    assert(report.ok > 300)
  })

  test('two minutes without an API server lose no request, and what changed meanwhile arrives afterwards', async t => {
    const load = await cluster.load(1, await cluster.url('whoami'), '--rate', '100', '--connections', '10')
    const podIP = await cluster.readyPodIP('whoami')
    await cluster.apiServer('stop')
    const since = Date.now()
    await cluster.writeBehind('services/specs/whoami/meanwhile', meanwhileService)
    await cluster.writeBehind('endpointslices/whoami/meanwhile', meanwhileSlice(podIP))
    await delay(since + 120e3 - Date.now())
    await cluster.apiServer('start')
    await eventually(60, async () => {
      assert.match(await cluster.curl(2, `http://${meanwhileIP}`), /^HTTP\/1.1 200/)
    })
    const report = await load.end()
    assert.deepEqual(report.errors, {})
    t.diagnostic(`${report.ok} requests`)
    // All the while, at half of the rate or more.
    assert(report.ok > 50 * 120)
  })

  test('explain on a node names the layer of a Service of the cluster', async () => {
    const text = await lightpath('explain', 'whoami/whoami', '--socket', cluster.socket(1))
    assert.match(text, /layer: envoy/i)
  })
})

describe('on a cluster of two nodes beside kube-proxy', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    cluster = await Nodes.up('nftables', ['services=labelled'])
    await cluster.kubectl('expose', 'deployment/whoami', '--name', 'ours', '--port', '80', '--target-port', 'http')
    const patch = { metadata: { labels: { [proxyName]: 'lightpath.cloud' } } }
    const port = { spec: { ports: [{ port: 80, targetPort: 'http', protocol: 'TCP', appProtocol: 'http' }] } }
    await cluster.kubectl('patch', 'service', 'ours', '-p', JSON.stringify({ ...patch, ...port }))
  })
  after(() => cluster?.down())

  for (const node of nodes) {
    test(`on node${node} the labelled Service goes through Envoy, the other one through kube-proxy`, async () => {
      const [ours, theirs] = await eventually(30, async () => {
        const answers = [await cluster.curl(node, 'http://ours'), await cluster.curl(node, 'http://whoami')] as const
        assert.match(answers[0], /X-Envoy-Attempt-Count: 1/i)
        return answers
      })
      assert.match(ours, /^HTTP\/1.1 200/)
      assert.match(theirs, /^HTTP\/1.1 200/)
      assert.doesNotMatch(theirs, /X-Envoy/i)
    })
  }

  test('a Service that moves to Lightpath and back under load loses no request', async () => {
    const url = await cluster.url('whoami')
    const loads = [
      await cluster.load(1, url, '--rate', '100', '--connections', '10'),
      await cluster.load(2, url, '--rate', '50', '--connections', '10', '--fresh'),
    ]
    for (let round = 0; round < 2; round++) {
      await cluster.kubectl('label', 'service', 'whoami', `${proxyName}=lightpath.cloud`)
      await eventually(30, async () => {
        assert.match(await cluster.curl(2, url), /X-Envoy-Attempt-Count: 1/i)
      })
      await cluster.kubectl('label', 'service', 'whoami', `${proxyName}-`)
      await eventually(30, async () => {
        assert.match(
          await lightpath('explain', 'whoami/whoami', '--socket', cluster.socket(2)),
          /which --services=labelled/,
        )
      })
    }
    for (const load of loads) {
      const report = await load.end()
      assert.deepEqual(report.errors, {})
      assert(report.ok > 0)
    }
  })
})
