/** What comes from outside, through an agent that Envoy is beside: node ports and load-balancer IPs stay in the kernel. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { runIn } from '../../../../src/lab/processes.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

describe('a Service that outsiders reach', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let outside: { readonly netns: string }

  before(async () => {
    const preserve = ['--client-address', 'preserve']
    lab = await AgentLab.build({
      flags: [...preserve, '--detect-local-mode', 'NodeCIDR'],
      bootstrapFlags: preserve,
    })
    const [web, other] = await lab.pods(['web-1', 'client'], 10)
    client = other!
    outside = { netns: lab.network.fabric }
    const { address, address6 } = lab.node
    lab.writeNode()
    const service = {
      name: 'web',
      vips: ['10.96.9.1', 'fd00:96:9::1'],
      ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30_080 }],
      spec: { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8', '172.30.0.0/16'] },
    }
    const [object, ...slices] = serviceWith(service, [web!])
    lab.write('web', [{ ...object, status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }] } } }, ...slices])
    for (const ip of ['192.0.2.7', '10.96.9.1', 'fd00:96:9::1']) {
      const via = ip.includes(':') ? address6 : address
      await runIn(outside.netns, 'ip', ['route', 'replace', ip, 'via', via])
    }
    await lab.start()
    await lab.untilServedBy('envoy', client, 'http://10.96.9.1/')
    await lab.untilServedBy('envoy', client, 'http://[fd00:96:9::1]/')
  })
  after(() => lab?.destroy())

  test('answers on node ports and load-balancer IPs, by the kernel', async () => {
    const { address, address6 } = lab.node
    for (const url of [`http://${address}:30080/`, `http://[${address6}]:30080/`, 'http://192.0.2.7/']) {
      assert.equal(await lab.ask(outside, url), 'web-1 by kernel')
      assert.equal(await lab.ask(client, url), 'web-1 by kernel')
    }
  })

  test('answers outsiders on its VIP by the kernel where Envoy shows endpoints their address, and pods by Envoy', async () => {
    for (const url of ['http://10.96.9.1/', 'http://[fd00:96:9::1]/']) {
      assert.equal(await lab.ask(outside, url), 'web-1 by kernel')
      assert.equal(await lab.ask(client, url), 'web-1 by envoy')
    }
  })

  test('is explained with its ways from outside', async () => {
    const { stdout } = await lab.lightpath('explain', 'default/web', '--socket', lab.socket)
    assert.match(
      stdout,
      /^ {2}from outside: node port 30080, load-balancer IP 192\.0\.2\.7 \(from 10\.0\.0\.0\/8 172\.30\.0\.0\/16 only\)$/m,
    )
    assert.match(stdout, /^ {2}external traffic policy Cluster: all 1 endpoints, which see the node's address$/m)
  })
})
