/** What a user of a real cluster relies on, without kube-proxy and beside it. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { eventually, isRoot, lightpath, Nodes, nodes } from './nodes.ts'

const skip = isRoot ? false : 'needs root'
const whoami = 'http://whoami.whoami.svc.cluster.local'

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

  test('three rolling updates lose no request', async () => {
    const request = 'curl -sS -o /dev/null --max-time 5 -w "%{http_code} %{errormsg}\\n" http://whoami'
    const load = cluster.client(1, 'sh', '-c', `for i in $(seq 900); do ${request}; done`)
    for (let round = 0; round < 3; round++) {
      await cluster.kubectl('rollout', 'restart', 'deployment/whoami')
      await cluster.rolledOut('deployment/whoami')
    }
    const answers = (await load).split('\n').filter(line => line !== '')
    assert.deepEqual([...new Set(answers)], ['200 '])
    assert.equal(answers.length, 900)
  })

  test('explain on a node names the layer of a Service of the cluster', async () => {
    const text = await lightpath('explain', 'whoami/whoami', '--socket', cluster.socket(1))
    assert.match(text, /layer: envoy/i)
  })
})

describe('on a cluster of two nodes beside kube-proxy', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    cluster = await Nodes.up('nftables', ['--services', 'labelled'])
    await cluster.kubectl('expose', 'deployment/whoami', '--name', 'ours', '--port', '80', '--target-port', 'http')
    const patch = { metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' } } }
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
})
