import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../src/demo/pods.ts'
import { AgentLab, skip } from './agent-lab.ts'
import { serviceWith } from './manifests.ts'

describe('pods that an egress NetworkPolicy selects', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let other: RunningPod
  const urls = ['http://10.96.9.1/', 'http://[fd00:96:9::1]/']

  before(async () => {
    lab = await AgentLab.build()
    const [web, ...clients] = await lab.pods(['web-1', 'client', 'other'], 10)
    client = clients[0]!
    other = clients[1]!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.9.1', 'fd00:96:9::1'] }, [web!]))
    lab.write('endpoints', [podManifest(web!, {})])
    lab.write('pods', [podManifest(client, { app: 'restricted' }), podManifest(other, {})])
    await lab.start()
    for (const url of urls) await lab.untilServedBy('envoy', client, url)
    // As a CNI's policy engine on the client's node: what the pod sends to this endpoint is dropped.
    const rules = `ip saddr ${client.ip} ip daddr ${web!.ip} drop; ip6 saddr ${client.ip6} ip6 daddr ${web!.ip6} drop;`
    const { stderr } = await lab.on('nft', [
      `table inet lab-policy { chain forward { type filter hook forward priority filter; ${rules} }; }`,
    ])
    assert.equal(stderr, '')
  })

  after(() => lab?.destroy())

  function podManifest({ name, node, ip, ip6 }: RunningPod, labels: object): object {
    const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: ip6 }] }
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'default', name, labels },
      spec: { nodeName: node },
      status,
    }
  }

  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'default', name: 'closed' },
    spec: { podSelector: { matchLabels: { app: 'restricted' } }, policyTypes: ['Egress'] },
  }

  const ask = (from: RunningPod, url: string) => lab.ask(from, url, '--max-time', '2')
  const command = async (...args: readonly string[]) => (await lab.lightpath(...args, '--socket', lab.socket)).stdout

  test('do not get round it by way of Envoy, and other pods go there still', async () => {
    lab.write('policy', [policy])
    await lab.until('the policy', async () => (await lab.metric('lightpath_kernel_clients')) === 1)
    for (const url of urls) {
      await lab.until(`no answer from ${url}`, async () => (await ask(client, url)) === 'curl 28')
      assert.equal(await ask(other, url), 'web-1 by envoy')
    }
    assert.match(
      await command('status'),
      /connections stay in the kernel: 1: default\/client \(NetworkPolicy default\/closed\)/,
    )
    assert.match(await command('explain', 'default/web'), /not for pods of this node: default\/client \(NetworkPolicy/)
  })

  test('stay below while the agent is dead or starts again', async () => {
    await lab.agent.down('SIGKILL')
    assert.equal(await ask(client, urls[0]!), 'curl 28')
    await lab.start()
    await lab.until('the agent', async () => (await lab.metric('lightpath_kernel_clients')) === 1)
    await lab.untilServedBy('envoy', other, urls[0]!)
    assert.equal(await ask(client, urls[0]!), 'curl 28')
  })

  test('are served by the kernel layer where the policy allows it', async () => {
    await lab.nft('delete', 'table', 'inet', 'lab-policy')
    for (const url of urls) assert.equal(await ask(client, url), 'web-1 by kernel')
  })

  test('go to Envoy again when no policy selects them any more', async () => {
    lab.write('pods', [podManifest(client, { app: 'free' }), podManifest(other, {})])
    for (const url of urls) await lab.untilServedBy('envoy', client, url)
  })

  test('and so does a pod with the opt-out label stay below', async () => {
    lab.write('pods', [podManifest(client, {}), podManifest(other, { 'lightpath.cloud/proxy': 'disabled' })])
    for (const url of urls) await lab.untilServedBy('kernel', other, url)
    assert.equal(await ask(client, urls[0]!), 'web-1 by envoy')
  })
})
