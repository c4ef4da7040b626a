/**
 * Envoy is no way round a policy, whichever kernel backend redirects to it. What a network plugin does, nft rules do
 * here: where packets are forwarded.
 */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { type RunningPod, startServer } from '../../../src/lab/pods.ts'
import { type Child, runIn } from '../../../src/lab/processes.ts'
import { type Endpoint, echo, http, serviceWith } from '../manifests.ts'
import { countOpen } from './connections.ts'
import { AgentLab, skip } from './lab.ts'

function podManifest({ name, node, ip, ip6 }: Endpoint, labels: object = {}): object {
  const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: ip6 }] }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name, labels },
    spec: { nodeName: node },
    status,
  }
}

function policy(type: 'Ingress' | 'Egress', app: string): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'default', name: type.toLowerCase() },
    spec: { podSelector: { matchLabels: { app } }, policyTypes: [type] },
  }
}

const readingUntilItsEnd = `
import socket
stream = socket.create_connection(('10.96.9.1', 7))
while stream.recv(4096): pass
`

const backends = [
  { backend: 'nftables', skip },
  { backend: 'iptables', skip: skip || (!existsSync('/usr/sbin/ipset') && 'needs ipset (Debian: ipset)') },
] as const

for (const { backend, skip } of backends)
  describe(`network policies, with ${backend}`, { skip }, () => {
    let lab: AgentLab
    let client: RunningPod
    let other: RunningPod
    let web: RunningPod
    let far: RunningPod
    const urls = ['http://10.96.9.1/', 'http://[fd00:96:9::1]/']
    const farUrl = 'http://10.96.9.2/'

    before(async () => {
      lab = await AgentLab.build({ nodes: 2, flags: ['--proxy-mode', backend] })
      ;[web, client, other] = (await lab.pods(['web-1', 'client', 'other'], 10)) as [RunningPod, RunningPod, RunningPod]
      far = await lab.pod('far', 10, 2)
      lab.writeNode()
      const ports = [http, echo]
      const settings = { overlay: 'true' }
      lab.write('web', serviceWith({ name: 'web', vips: ['10.96.9.1', 'fd00:96:9::1'], ports, settings }, [web]))
      lab.write('far', serviceWith({ name: 'far', vips: ['10.96.9.2'] }, [far]))
      lab.write('endpoints', [podManifest(web, { app: 'web' }), podManifest(far, { app: 'far' })])
      lab.write('pods', [podManifest(client, { app: 'restricted' }), podManifest(other)])
      await lab.start()
      for (const url of [...urls, farUrl]) await lab.untilServedBy('envoy', client, url)
    })
    after(() => lab?.destroy())

    const ask = (from: RunningPod, url: string) => lab.ask(from, url, '--max-time', '2')
    const command = async (...args: readonly string[]) => (await lab.lightpath(...args, '--socket', lab.socket)).stdout

    async function enforce(netns: string, rules: string): Promise<void> {
      const table = `table inet lab-policy { chain forward { type filter hook forward priority filter; ${rules} }; }`
      assert.equal((await runIn(netns, 'nft', [table])).stderr, '')
    }

    const cease = (netns: string) => runIn(netns, 'nft', ['delete table inet lab-policy'])

    /** Connections that a pod's sockets have at this port. */
    const openAt = (pod: RunningPod, port: number) => countOpen(pod, `( sport = :${port} or dport = :${port} )`)

    /** An open request and an open stream through Envoy, from a client to web. */
    async function open(from: RunningPod) {
      await lab.until('the echo port in Envoy', async () => (await lab.overlay()).includes('10.96.9.1 . 7'))
      const { processes } = lab.network
      const stream = await processes.spawnIn(from.netns, 'python3', ['-c', readingUntilItsEnd])
      const request = await processes.spawnIn(from.netns, 'curl', ['-s', `${urls[0]}delay?ms=600000`])
      const inEnvoy = (port: number) => countOpen(lab.node, `src 10.96.9.1 and sport = :${port} and dst ${from.ip}`)
      await lab.until('both in Envoy', async () => (await inEnvoy(80)) > 0 && (await inEnvoy(7)) > 0)
      await lab.until('both at web', async () => (await openAt(web, 8080)) > 0 && (await openAt(web, 7)) > 0)
      return { stream, request }
    }

    function untilEnded(...clients: readonly Child[]): Promise<boolean> {
      let haveEnded = false
      void Promise.all(clients.map(({ exited }) => exited)).then(() => {
        haveEnded = true
      })
      return lab.until('the end of what is open', () => haveEnded)
    }

    test('a policy for ingress that comes later holds at once, also for what is open in Envoy', async () => {
      const rules = `ip saddr ${client.ip} ip daddr ${web.ip} drop; ip6 saddr ${client.ip6} ip6 daddr ${web.ip6} drop;`
      const { stream, request } = await open(client)
      await enforce(lab.node.netns, rules)
      lab.write('ingress', [policy('Ingress', 'web')])
      await untilEnded(stream, request)
      await lab.until('no connection at web', async () => (await openAt(web, 8080)) + (await openAt(web, 7)) === 0)
      for (const url of urls) {
        await lab.untilServedBy('kernel', other, url)
        assert.equal(await ask(client, url), 'curl 28')
      }
      assert.match(
        await command('explain', 'default/web'),
        /kernel \(endpoint 10\.244\.1\.10:8080: NetworkPolicy default\/ingress selects its pod default\/web-1\)/,
      )
      assert.match(
        await command('services'),
        /web +http:80\/TCP .* kernel .* endpoint 10\.244\.1\.10:8080: NetworkPolicy default\/ingress selects its pod/,
      )
      await cease(lab.node.netns)
    })

    test('and when it goes, its ports go to Envoy again', async () => {
      lab.remove('ingress')
      for (const url of urls) await lab.untilServedBy('envoy', client, url)
    })

    test('on another node a policy sees the client, not the node that Envoy is on', async () => {
      lab.write('ingress', [policy('Ingress', 'far')])
      await lab.untilServedBy('kernel', client, farUrl)
      const netns = lab.network.nodes[1]!.netns
      await enforce(netns, `ip daddr ${far.ip} ip saddr != ${client.ip} drop;`)
      assert.equal(await ask(client, farUrl), 'far by kernel')
      assert.equal(await ask(other, farUrl), 'curl 28')
      await cease(netns)
      lab.remove('ingress')
    })

    test('an endpoint at an address of a node, at a metadata server or of an unknown pod is none for Envoy', async () => {
      await startServer(lab.network, { ...web, name: 'on-host', netns: lab.node.netns }, { http: [8080] })
      const onHost = { name: 'on-host', node: 'node1', ip: lab.node.address, ip6: lab.node.address6 }
      const unknown = { name: 'web-1', node: 'node1', ip: '100.100.100.200', ip6: 'fd00:ec2::254' }
      lab.write('on-host', serviceWith({ name: 'on-host', vips: ['10.96.9.3'] }, [onHost]))
      lab.write('metadata', serviceWith({ name: 'metadata', vips: ['10.96.9.4', 'fd00:96:9::4'] }, [unknown]))
      await lab.untilServedBy('kernel', client, 'http://10.96.9.3/')
      await lab.until('the other Service', () => lab.explain('default/metadata'))
      const why = async (name: string) =>
        (await lab.explain(`default/${name}`))?.service.ports.map(({ layer }) => layer.reason)
      assert.match((await why('on-host'))![0]!, /172\.30\.0\.11:8080: it is the address of a node/)
      for (const reason of (await why('metadata'))!)
        assert.match(reason, /no known pod of namespace default has that address/)
      await lab.untilLogged(/Service default\/on-host","reason":"StaysInKernel"/)
      // The node's firewall has closed it to pods.
      const firewall = `table inet lab-policy { chain input { type filter hook input priority filter; ip saddr ${client.ip} tcp dport 8080 drop; }; }`
      await lab.on('nft', [firewall])
      assert.equal(await ask(client, 'http://10.96.9.3/'), 'curl 28')
      await cease(lab.node.netns)
    })

    test('a policy for the egress of some ends nothing that others have open in Envoy, nor does its end', async () => {
      const crowd = Array.from({ length: 5000 }, (_, n) => {
        const pod = {
          name: `crowd-${n}`,
          node: 'node1',
          ip: `10.99.${n >> 8}.${n & 255}`,
          ip6: `fd00:99::${n.toString(16)}`,
        }
        return podManifest(pod, n === 0 ? { 'lightpath.cloud/proxy': 'disabled' } : {})
      })
      const untilExempt = (count: number) => lab.untilMetric('lightpath_redirect_exempt_pods', count)
      lab.write('crowd', crowd)
      await untilExempt(1)
      const load = await lab.load(other, { url: urls[0]!, connections: 8, rate: 800 })
      const inEnvoy = `src 10.96.9.1 and sport = :80 and dst ${other.ip}`
      await lab.until('all in Envoy', async () => (await countOpen(lab.node, inEnvoy)) === 8)
      for (let times = 0; times < 3; times++) {
        lab.write('egress', [policy('Egress', 'restricted')])
        await untilExempt(2)
        lab.remove('egress')
        await untilExempt(1)
      }
      const { errors, layers } = await load.stop()
      assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
      lab.remove('crowd')
      await untilExempt(0)
    })

    test('a policy for egress that comes later holds at once, also for what is open in Envoy', async () => {
      const { stream, request } = await open(client)
      const others = await open(other)
      await enforce(lab.node.netns, `ip saddr ${client.ip} drop; ip6 saddr ${client.ip6} drop;`)
      lab.write('egress', [policy('Egress', 'restricted')])
      await untilEnded(stream, request)
      await lab.until('the stream of the other pod alone', async () => (await openAt(web, 7)) === 1)
      const exits = await Promise.all([others.request.stop(), others.stream.stop()])
      assert.deepEqual(
        exits.map(({ signal }) => signal),
        ['SIGTERM', 'SIGTERM'],
      )
      await lab.until('the policy', async () => (await lab.metric('lightpath_redirect_exempt_pods')) === 1)
      for (const url of urls) {
        assert.equal(await ask(client, url), 'curl 28')
        assert.equal(await ask(other, url), 'web-1 by envoy')
      }
      assert.match(
        await command('status'),
        /connections stay in the kernel: 1: default\/client \(NetworkPolicy default\/egress\)/,
      )
      assert.match(
        await command('explain', 'default/web'),
        /not for pods of this node: default\/client \(NetworkPolicy/,
      )
    })

    test('a pod that the agent does not know yet stays below while a policy restricts egress', async () => {
      const stranger = await lab.pod('stranger', 20)
      for (const url of urls) assert.equal(await ask(stranger, url), 'web-1 by kernel')
      lab.write('stranger', [podManifest(stranger)])
      for (const url of urls) await lab.untilServedBy('envoy', stranger, url)
    })

    test('pods that one selects stay below while the agent is dead or starts again', async () => {
      await lab.agent.down('SIGKILL')
      assert.equal(await ask(client, urls[0]!), 'curl 28')
      await lab.start()
      await lab.until('the agent', async () => (await lab.metric('lightpath_redirect_exempt_pods')) === 1)
      await lab.untilServedBy('envoy', other, urls[0]!)
      assert.equal(await ask(client, urls[0]!), 'curl 28')
    })

    test('are served by the kernel layer where the policy allows it', async () => {
      await cease(lab.node.netns)
      for (const url of urls) assert.equal(await ask(client, url), 'web-1 by kernel')
    })

    test('go to Envoy again when no policy selects them any more', async () => {
      lab.write('pods', [podManifest(client, { app: 'free' }), podManifest(other)])
      for (const url of urls) await lab.untilServedBy('envoy', client, url)
    })

    test('and so does a pod with the opt-out label stay below', async () => {
      lab.write('pods', [podManifest(client), podManifest(other, { 'lightpath.cloud/proxy': 'disabled' })])
      for (const url of urls) await lab.untilServedBy('kernel', other, url)
      assert.equal(await ask(client, urls[0]!), 'web-1 by envoy')
    })
  })
