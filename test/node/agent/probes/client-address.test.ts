import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { curl } from '../../../../src/lab/clients.ts'
import { type RunningPod, startServer } from '../../../../src/lab/pods.ts'
import { runIn } from '../../../../src/lab/processes.ts'
import { type Endpoint, http, serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

const flags = ['--client-address', 'auto', '--cluster-cidr', '10.244.0.0/16,fd00:244::/32']
const bootstrapFlags = ['--client-address', 'auto']

const podObject = ({ name, node, ip, ip6 }: Endpoint) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'default', name },
  spec: { nodeName: node },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: ip6 }] },
})

async function untilPreserved(lab: AgentLab, service: string): Promise<void> {
  let why: string | undefined
  await lab
    .until("the client's address", async () => {
      const choice = (await lab.explain(service))?.clientAddress
      why = choice?.why
      return choice?.mode === 'preserve'
    })
    .catch(error => assert.fail(`${why}; ${(error as Error).message}`))
}

/** Waits until an endpoint sees this address as its peer, through Envoy. */
async function untilSeen(lab: AgentLab, from: RunningPod, url: string, address: string): Promise<void> {
  await lab.until(`${address} at the endpoint of ${url}`, async () => {
    const { stdout } = await curl(from, [url])
    const [, seen] = /^RemoteAddr: \[?(.*?)\]?:\d+$/m.exec(stdout) ?? []
    return stdout.includes('X-Envoy-Attempt-Count') && seen === address
  })
}

/** Strict reverse path filters, as on RHEL. */
describe('with --client-address=auto on a node whose pods are routed', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let near: RunningPod
  let far: RunningPod

  before(async () => {
    lab = await AgentLab.build({ nodes: 2, rpFilter: 1, flags, bootstrapFlags })
    ;[client, near, far] = await Promise.all([lab.pod('client', 10), lab.pod('near', 11), lab.pod('far', 11, 2)])
    const { address: ip, address6: ip6 } = lab.node
    const onHost = { name: 'on-host', node: 'node1', ip, ip6 }
    await startServer(lab.network, { ...client, name: 'on-host', netns: lab.node.netns }, { http: [8080] })
    const endpoints: readonly Endpoint[] = [near, far, onHost]
    for (const [index, endpoint] of endpoints.entries()) {
      const vips = [`10.96.7.${index + 1}`, `fd00:96:7::${index + 1}`]
      lab.write(endpoint.name, serviceWith({ name: endpoint.name, vips, ports: [http] }, [endpoint]))
    }
    await lab.start()
    // A socket's port range counts within its network namespace's, which the agent makes wide enough.
    await lab.until('the range of ports', async () => {
      return /32768\s65535/.test((await lab.on('sysctl', ['net.ipv4.ip_local_port_range'])).stdout)
    })
    await lab.until('the overlay', async () => (await lab.overlay()).length === 4)
    await untilPreserved(lab, 'default/near')
    // Each listener changes with it, one after the other.
    for (const vip of ['10.96.7.1', '10.96.7.2']) await untilSeen(lab, client, `http://${vip}/`, client.ip)
    for (const vip of ['fd00:96:7::1', 'fd00:96:7::2']) await untilSeen(lab, client, `http://[${vip}]/`, client.ip6)
  })

  after(() => lab?.destroy())

  /** `[address, port]` that the endpoint behind a VIP saw. */
  async function peer(from: Pick<RunningPod, 'netns'>, url: string): Promise<readonly [string, number]> {
    const { stdout, stderr } = await curl(from, [url])
    assert.match(stdout, /X-Envoy-Attempt-Count/, stderr)
    const [, address = '', port] = /RemoteAddr: \[?(.*?)\]?:(\d+)$/m.exec(stdout) ?? []
    return [address, Number(port)]
  }

  for (const [index, where] of ['of the same node', 'of another node'].entries()) {
    test(`an endpoint ${where} sees the client pod's address, and a port apart from the pod's own`, async () => {
      for (const [url, address] of [
        [`http://10.96.7.${index + 1}/`, client.ip],
        [`http://[fd00:96:7::${index + 1}]/`, client.ip6],
      ] as const) {
        const [seen, port] = await peer(client, url)
        assert.equal(seen, address)
        assert.ok(port >= 61000, `${port}`)
      }
    })
  }

  test("an endpoint on the node's own network is none for Envoy, which the node's firewall would not tell from the node", async () => {
    for (const url of ['http://10.96.7.3/', 'http://[fd00:96:7::3]/']) {
      assert.equal(await lab.ask(client, url), 'on-host by kernel')
    }
  })

  test('an endpoint that is its own client is served', async () => {
    for (const url of ['http://10.96.7.1/', 'http://[fd00:96:7::1]/']) {
      assert.equal(await lab.ask(near, url), 'near by envoy')
    }
  })

  test("the node's own processes are served", async () => {
    for (const host of ['10.96.7.1', '10.96.7.2', '[fd00:96:7::2]']) {
      assert.match(await lab.ask(lab.node, `http://${host}/`), / by envoy$/)
    }
  })

  test("a rule of the destination's node that drops a client pod's packets holds for requests through Envoy, and for that pod alone", async () => {
    const node2 = lab.network.nodes[1]!.netns
    const rules = `table ip lab-policy { chain forward { type filter hook forward priority 0; ip saddr ${client.ip} drop; }; }`
    const { stderr } = await runIn(node2, 'nft', [rules])
    assert.equal(stderr, '')
    // Envoy may have a connection of before; the rule drops its packets too.
    const refused = await lab.ask(client, 'http://10.96.7.2/', '--max-time', '3')
    assert.doesNotMatch(refused, /^far/)
    assert.equal(await lab.ask(near, 'http://10.96.7.2/'), 'far by envoy')
    await runIn(node2, 'nft', ['delete table ip lab-policy'])
    await lab.untilServedBy('envoy', client, 'http://10.96.7.2/')
  })

  test('explain says that endpoints see the client', async () => {
    const { stdout } = await lab.lightpath('explain', 'default/near', '--socket', lab.socket)
    assert.match(
      stdout,
      /endpoints see the client's address \(--client-address auto: pods are routed one by one \(pod1\d\), and what is sent to them passes netfilter here\)/,
    )
  })

  test('another run of the agent goes on with it, and no request is lost meanwhile', async () => {
    const load = await lab.load(client, { url: 'http://10.96.7.2/', connections: 4, rate: 50 })
    await lab.agent.down('SIGKILL')
    await lab.agent.up()
    const choice = await lab.until('the agent', async () => (await lab.explain('default/far'))?.clientAddress)
    assert.equal(choice.mode, 'preserve')
    assert.match(choice.why, /an earlier run of the agent has proven it/)
    await lab.untilEnvoyIsUp()
    assert.equal((await peer(client, 'http://10.96.7.2/'))[0], client.ip)
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
  })
})

describe('with --client-address=auto on a node without pods', { skip }, () => {
  let lab: AgentLab

  before(async () => {
    lab = await AgentLab.build({ nodes: 2, flags, bootstrapFlags })
    const far = await lab.pod('far', 11, 2)
    lab.write('far', serviceWith({ name: 'far', vips: ['10.96.7.2', 'fd00:96:7::2'], ports: [http] }, [far]))
    lab.write('far-pod', [podObject(far)])
    await lab.start()
    await lab.untilServedBy('envoy', lab.node, 'http://10.96.7.2/')
  })
  after(() => lab?.destroy())

  test("endpoints see the client's address once its first pod is there, and connections of before stay", async () => {
    const [before_, load] = [
      (await lab.explain('default/far'))!.clientAddress,
      await lab.load({ ...lab.node, node: 'node1' } as never, { url: 'http://10.96.7.2/', connections: 2, rate: 40 }),
    ]
    assert.equal(before_.mode, 'forwarded-for')
    const client = await lab.pod('client', 10)
    lab.write('pods', [podObject(client)])
    await untilPreserved(lab, 'default/far')
    await untilSeen(lab, client, 'http://10.96.7.2/', client.ip)
    await untilSeen(lab, client, 'http://[fd00:96:7::2]/', client.ip6)
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
  })
})

describe('with --client-address=auto on a node where something hands packets from pod to pod', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod

  before(async () => {
    lab = await AgentLab.build({ flags, bootstrapFlags })
    client = await lab.pod('client', 10)
    const near = await lab.pod('near', 11)
    lab.write('near', serviceWith({ name: 'near', vips: ['10.96.7.1'], ports: [http] }, [near]))
    lab.write('pods', [client, near].map(podObject))
    const deviceOf = async ({ ip }: RunningPod) =>
      / dev (\S+)/.exec((await lab.on('ip', ['route', 'get', ip])).stdout)![1]!
    const [from, to] = [await deviceOf(near), await deviceOf(client)]
    // As a program at tc does with packets of connections that it does not know as its own.
    const opens = 'match ip protocol 6 0xff match u8 0x02 0x12 at 33'
    const match = `u32 match ip dst ${client.ip}/32 ${opens}`
    const filter = `tc qdisc add dev ${from} clsact && tc filter add dev ${from} ingress protocol ip ${match} action mirred egress redirect dev ${to}`
    assert.equal((await lab.on('sh', ['-c', filter])).stderr, '')
    await lab.start()
    await lab.untilServedBy('envoy', client, 'http://10.96.7.1/')
  })
  after(() => lab?.destroy())

  test("endpoints see the node's address, and explain names the packets that did not come", async () => {
    await lab.until('the reason', async () =>
      /something takes packets before netfilter: from 10\.244\.1\.11 to 10\.244\.1\.10 by /.test(
        (await lab.explain('default/near'))?.clientAddress.why ?? '',
      ),
    )
    const { stdout } = await curl(client, ['http://10.96.7.1/'])
    assert.match(stdout, new RegExp(`^X-Forwarded-For: ${client.ip}$`, 'm'))
    // It is tried again and again.
    await lab.until('nothing left of a try', async () => {
      const [table, links] = [await lab.nft('list', 'table', 'ip', 'lightpath-reply'), await lab.on('ip', ['link'])]
      return table === '' && !/lightpath[0-9]/.test(links.stdout)
    })
  })
})

describe('with --client-address=auto on a node whose pods are on a bridge', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod

  before(async () => {
    lab = await AgentLab.build({ flags, bootstrapFlags })
    const [first, near] = await Promise.all([lab.pod('client', 10), lab.pod('near', 11)])
    client = first
    lab.write('near', serviceWith({ name: 'near', vips: ['10.96.7.1'], ports: [http] }, [near]))
    await lab.on('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=32768 65535'])
    const bridge = 'ip link add cni0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master cni0'
    assert.equal((await lab.on('sh', ['-c', bridge])).stderr, '')
    await lab.start()
    await lab.untilServedBy('envoy', client, 'http://10.96.7.1/')
  })

  after(() => lab?.destroy())

  test("endpoints see the node's address and X-Forwarded-For, and explain says why", async () => {
    const { stdout } = await curl(client, ['http://10.96.7.1/'])
    assert.match(stdout, new RegExp(`^X-Forwarded-For: ${client.ip}$`, 'm'))
    assert.doesNotMatch(stdout, new RegExp(`^RemoteAddr: ${client.ip}:`, 'm'))
    await lab.until('the reason', async () =>
      /bridge/.test((await lab.explain('default/near'))?.clientAddress.why ?? ''),
    )
    const explained = await lab.lightpath('explain', 'default/near', '--socket', lab.socket)
    assert.match(explained.stdout, /X-Forwarded-For \(--client-address auto: pods are on a bridge \(cni0\)/)
  })
})

describe('with a bootstrap for another --client-address than the agent’s', { skip }, () => {
  let lab: AgentLab

  after(() => lab?.destroy())

  test('the problem names both, and says what to do', async () => {
    lab = await AgentLab.build({
      flags: ['--client-address', 'preserve'],
      bootstrapFlags: ['--client-address', 'forwarded-for'],
    })
    await lab.start()
    const line = await lab.untilLogged(/LP303.*"problem"/)
    assert.match(line, /Envoy node1.*its bootstrap is for --client-address forwarded-for, and the agent's is preserve/)
    assert.match(line, /start it with a bootstrap for preserve/)
  })
})
