import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import type { Supervised } from '../../../src/lab/supervisor.ts'
import { serviceWith } from '../manifests.ts'
import { AgentLab, skip } from './lab.ts'

const ports = [9444, 9445]

describe('an agent that has its Services from control planes', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let pods: readonly [RunningPod, RunningPod]
  let controlPlanes: readonly [Supervised, Supervised]

  before(async () => {
    lab = await AgentLab.build()
    const [first, ...others] = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = first!
    pods = others as unknown as typeof pods
    controlPlanes = ports.map(port => lab.controlPlane(port)) as unknown as typeof controlPlanes
    lab.writeNode()
    // A pod that is not told of counts as none, as with the API.
    lab.write('pods', [client, ...pods].map(podOf))
    write('web', '10.96.1.1', [pods[0]])
    await Promise.all([...controlPlanes, lab.agentWith({ controlPlanes: ports }), lab.envoy].map(one => one.up()))
  })

  after(() => lab?.destroy())

  function write(name: string, vip: string, endpoints: readonly RunningPod[]): void {
    lab.write(name, serviceWith({ name, vips: [vip] }, endpoints))
  }

  test('serves them by both layers, and follows what changes', async () => {
    await lab.untilServedBy('envoy', client, 'http://10.96.1.1/')
    write('web', '10.96.1.1', [pods[1]])
    await lab.until('the other endpoint', async () => (await lab.ask(client, 'http://10.96.1.1/')) === 'web-2 by envoy')
  })

  test('goes on with the other one when one dies, and with what it knows when both do', async () => {
    for (const [i, controlPlane] of controlPlanes.entries()) {
      await controlPlane.down('SIGKILL')
      assert.equal(await lab.ask(client, 'http://10.96.1.1/'), 'web-2 by envoy')
      const vip = `10.96.2.${i + 1}`
      write(`new-${i}`, vip, [pods[0]])
      if (i === 0) await lab.untilServedBy('envoy', client, `http://${vip}/`)
    }
    await lab.untilLogged(/LP106.*no replica answers/)
    assert.equal(await lab.ask(client, 'http://10.96.2.1/'), 'web-1 by envoy')
    assert.equal(await lab.explain('default/new-1'), undefined)
    await controlPlanes[0].up()
    await lab.untilServedBy('envoy', client, 'http://10.96.2.2/')
  })
})

function podOf({ name, node, ip, ip6 }: RunningPod): object {
  const status = { phase: 'Running', podIPs: [{ ip }, { ip: ip6 }] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'default', name }, spec: { nodeName: node }, status }
}
