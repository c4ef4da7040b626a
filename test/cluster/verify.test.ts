/** `lightpath verify` at an upstream kube-proxy with Services of every kind. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ApiServerProcess, noApiServer } from './apiserver.ts'
import { generateServices } from './generated-services.ts'
import { KubeProxyNode, noKubeProxy, podNetworks } from './kube-proxy.ts'
import { eventually } from './nodes.ts'

const program = join(import.meta.dirname, '../../bin/lightpath')
const masquerading = ['--cluster-cidr', podNetworks.join()]
const skip = noKubeProxy || noApiServer || false

interface Verdict {
  readonly services: number
  readonly frontends: number
  readonly differences: readonly Readonly<Record<'service' | 'frontend' | 'what', string>>[]
}

describe('verify beside an upstream kube-proxy in nftables mode', { skip }, () => {
  const api = new ApiServerProcess(['--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112'])
  const node = new KubeProxyNode(api)
  before(async () => {
    await api.start()
    await node.start()
  })
  after(async () => {
    await node.stop()
    await api.stop()
  })

  /** The exit code is beside what is printed. */
  async function verify(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const given = ['--node-name', node.name, '--kubeconfig', node.kubeconfig, ...masquerading, ...args]
    return node.run(program, 'verify', ...given).then(
      stdout => ({ code: 0, stdout, stderr: '' }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    )
  }

  const nft = (...commands: readonly string[]) => node.run('nft', commands.join('; '))

  test('there is no difference for more than 200 Services of every kind', async () => {
    await generateServices(api, 300, { node: node.name, zone: node.zone })
    const { code, stdout } = await verify('--output', 'json')
    const { services, frontends, differences }: Verdict = JSON.parse(stdout)
    assert.deepEqual(differences, [])
    assert.equal(code, 0)
    assert.ok(services >= 200, `${services} Services`)
    assert.ok(frontends >= 1000, `${frontends} frontends`)
  })

  test('each of eighteen planted differences is found, and nothing else', async () => {
    const planted = await plantDifferences(api, node, nft)
    const { code, stdout } = await verify('--output', 'json')
    const { differences }: Verdict = JSON.parse(stdout)
    assert.deepEqual(differences.map(({ service, what }) => `${service}: ${what}`).sort(), [...planted].sort())
    assert.equal(code, 1)

    const text = (await verify()).stdout
    assert.match(text, /^SERVICE PORT +FRONTEND +WHAT +KUBE-PROXY +LIGHTPATH\n/)
    assert.match(
      text,
      /\nplant\/endpoint\/80 +10\.96\.\d+\.\d+:80\/TCP +endpoints +10\.244\.9\.9:8080, 1 that both have +10\.244\.1\.3:8080, 1/,
    )
    // In the other family kube-proxy has none at all, as where it started before it heard of them.
    assert.match(
      text,
      /\n\d+ Services compared in \d+ frontends, \d+ differences; .* ServiceCIDR fd00:96::\/112 .*sync on\n$/,
    )
  })

  test('what is set otherwise for all Services is told once', async () => {
    const { stdout } = await verify(
      '--masquerade-all',
      'on',
      '--nodeport-addresses',
      '192.0.2.0/24',
      '--output',
      'json',
    )
    const { differences }: Verdict = JSON.parse(stdout)
    const ofAll = differences.filter(({ service, what }) => service === '(all)' && !what.startsWith('chain'))
    assert.deepEqual(
      ofAll.map(({ frontend, what }) => `${frontend}: ${what}`),
      [
        'every frontend (ip): source address replaced',
        'every frontend (ip): node ports are open on',
        'every frontend (ip): dropped unless a Service has it',
        'every frontend (ip6): source address replaced',
        'every frontend (ip6): node ports are open on',
      ],
    )
  })

  test("Lightpath's own table has no difference to what it should have, and what somebody changes in it is found", async () => {
    const socket = join(api.directory, 'agent.sock')
    const names = ['--node-name', node.name, '--kubeconfig', node.kubeconfig, '--socket', socket]
    const agent = node.spawn('agent', program, 'node', ...names, '--path-test', 'off', ...masquerading)
    await eventually(60, () => node.run('curl', '-sSf', 'http://127.0.0.1:9000/readyz'))
    await eventually(60, async () => {
      const { code, stdout } = await verify('--against', 'lightpath', '--output', 'json')
      const { services, frontends, differences }: Verdict = JSON.parse(stdout)
      assert.deepEqual(differences, [])
      assert.equal(code, 0)
      assert.ok(services >= 200 && frontends >= 1000)
    })

    agent.kill('SIGKILL')
    const ipOf = async (name: string) =>
      ((await api.must('GET', `/api/v1/namespaces/plant/services/${name}`)).spec as ServiceSpec).clusterIP
    const [endpoint, missing, gone, refused] = await Promise.all(
      ['endpoint', 'missing-endpoint', 'gone', 'refusal'].map(ipOf),
    )
    const element = (set: string, text: string) => `element ip lightpath ${set} { ${text} }`
    await nft(
      `delete ${element('endpoints-tcp', `${endpoint} . 80 . 1`)}`,
      `add ${element('endpoints-tcp', `${endpoint} . 80 . 1 : 10.244.9.9 . 8080`)}`,
      `delete ${element('endpoints-tcp', `${missing} . 80 . 1`)}`,
      `delete ${element('services', `${gone} . tcp . 80`)}`,
      `delete ${element('no-endpoints', `${refused} . tcp . 80`)}`,
      `add ${element('no-endpoints', `${refused} . tcp . 80 : drop`)}`,
      `delete ${element('external', '192.0.2.1 . tcp . 80')}`,
      `delete ${element('source-checks', '192.0.2.6 . tcp . 80')}`,
      `delete ${element('ranges-192.0.2.5-tcp-80', '203.0.113.0/24')}`,
      `delete ${element('hairpin', '10.244.8.8 . 10.244.8.8')}`,
      `delete ${element('cluster-ips', refused!)}`,
      `delete ${element('service-ranges', '10.96.0.0/16')}`,
      'flush chain ip lightpath guard',
    )
    const { code, stdout } = await verify('--against', 'lightpath', '--output', 'json')
    const { differences }: Verdict = JSON.parse(stdout)
    assert.deepEqual(differences.map(({ service, what }) => `${service}: ${what}`).sort(), [
      '(all): addresses in the set service-ranges',
      '(all): chain guard',
      'plant/endpoint: endpoints',
      'plant/firewall: allowed sources',
      'plant/gone: the frontend',
      'plant/hairpin: replaced towards itself',
      'plant/masquerade: source address replaced',
      'plant/missing-endpoint: endpoints',
      'plant/missing-endpoint: rules not understood',
      'plant/ranges: allowed sources',
      'plant/refusal: address is a cluster IP',
      'plant/refusal: without endpoints',
    ])
    assert.equal(code, 1)
  })

  test('without a table of kube-proxy there is nothing to compare, and it says so', async () => {
    for (const family of ['ip', 'ip6']) await nft(`delete table ${family} kube-proxy`)
    const { code, stderr } = await verify()
    assert.equal(code, 2)
    assert.match(stderr, /this node has no nftables table kube-proxy/)
  })
})

/** Services of a fixed shape, and in the table of each something else than kube-proxy made. Returns what has to be found. */
async function plantDifferences(
  api: ApiServerProcess,
  node: KubeProxyNode,
  nft: (...commands: readonly string[]) => Promise<string>,
): Promise<readonly string[]> {
  await api.makeNamespaces({ plant: {} })
  const services = '/api/v1/namespaces/plant/services'
  const make = async (name: string, spec: object, endpoints: readonly string[] = ['10.244.1.2', '10.244.1.3']) => {
    const ports = [{ port: 80, targetPort: 8080 }]
    await api.must('POST', services, { metadata: { name }, spec: { ports, ...spec } })
    await api.must('POST', '/apis/discovery.k8s.io/v1/namespaces/plant/endpointslices', {
      metadata: { name, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080 }],
      endpoints: endpoints.map((ip, index) => ({ addresses: [ip], nodeName: index === 0 ? node.name : 'node2' })),
    })
  }
  const affinity = { sessionAffinity: 'ClientIP' }
  const external = (address: string) => ({ externalIPs: [address] })
  const local = { externalTrafficPolicy: 'Local' }
  const balancer = {
    type: 'LoadBalancer',
    loadBalancerSourceRanges: ['203.0.113.0/24'],
    allocateLoadBalancerNodePorts: false,
  }

  await make('endpoint', {})
  await make('missing-endpoint', {})
  await make('sticky', affinity)
  await make('half-sticky', affinity)
  await make('timeout', affinity)
  await make('masquerade', external('192.0.2.1'))
  await make('policy', { ...external('192.0.2.2'), ...local })
  await make('pods', { ...external('192.0.2.3'), ...local })
  await make('refusal', {}, [])
  await make('gone', external('192.0.2.4'))
  await make('ranges', balancer)
  await make('firewall', balancer)
  await make('node-port', { type: 'NodePort' })
  await make('hairpin', {}, ['10.244.8.8'])
  const addresses = { ranges: '192.0.2.5', firewall: '192.0.2.6' }
  for (const [name, ip] of Object.entries(addresses)) {
    await api.must('PATCH', `${services}/${name}/status`, { status: { loadBalancer: { ingress: [{ ip }] } } })
  }
  const specs = await Promise.all(
    ['refusal', 'node-port'].map(async name => (await api.must('GET', `${services}/${name}`)).spec as ServiceSpec),
  )
  const [
    { clusterIP: refused },
    {
      ports: [{ nodePort }],
    },
  ] = specs as [ServiceSpec, ServiceSpec]

  const table = await eventually(30, async () => {
    const text = await node.run('nft', 'list', 'table', 'ip', 'kube-proxy')
    for (const wanted of ['plant/hairpin/tcp', '192.0.2.5 ', '192.0.2.6 ', `${refused} `])
      assert.ok(text.includes(wanted))
    return text
  })
  node.freeze()
  await api.must('PATCH', `${services}/timeout`, {
    spec: { sessionAffinityConfig: { clientIP: { timeoutSeconds: 3600 } } },
  })

  const chain = (prefix: string, name: string) =>
    new RegExp(`chain (${prefix}-[A-Z2-7]{8}-plant/${name}/tcp/\\S*) \\{`).exec(table)![1]!
  const rules = (prefix: string, name: string) => {
    const start = table.indexOf(`chain ${chain(prefix, name)} {`)
    return table.slice(table.indexOf('\n', start), table.indexOf('\t}', start)).trim().split(/\n\s*/)
  }
  const rewrite = (prefix: string, name: string, change: (rules: readonly string[]) => readonly string[]) => {
    const target = `ip kube-proxy ${chain(prefix, name)}`
    return nft(`flush chain ${target}`, ...change(rules(prefix, name)).map(rule => `add rule ${target} ${rule}`))
  }
  const element = (set: string, text: string) => `element ip kube-proxy ${set} { ${text} }`

  await rewrite('service', 'endpoint', () => [
    'meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.9.9 . 8080 }',
  ])
  await rewrite('service', 'missing-endpoint', () => ['meta l4proto tcp dnat to 10.244.1.2:8080'])
  await rewrite('service', 'sticky', all => all.slice(-1))
  await rewrite('service', 'half-sticky', all => all.slice(1))
  await rewrite('external', 'masquerade', all => all.slice(1))
  await rewrite('external', 'policy', all => [...all.slice(0, -1), `goto ${chain('service', 'policy')}`])
  await rewrite('external', 'pods', all => all.slice(1))
  await rewrite('firewall', 'ranges', () => ['ip saddr != 203.0.0.0/16 drop'])
  await nft(
    `delete ${element('no-endpoint-services', `${refused} . tcp . 80`)}`,
    `add ${element('no-endpoint-services', `${refused} . tcp . 80 : drop`)}`,
    `delete ${element('service-ips', '192.0.2.4 . tcp . 80')}`,
    `delete ${element('firewall-ips', '192.0.2.6 . tcp . 80')}`,
    `delete ${element('service-nodeports', `tcp . ${nodePort}`)}`,
    `add ${element('service-nodeports', `tcp . ${nodePort} : goto ${chain('external', 'gone')}`)}`,
    `delete ${element('hairpin-connections', '10.244.8.8 . 10.244.8.8 . tcp . 8080')}`,
    `add ${element('service-ips', `10.96.255.254 . tcp . 81 : goto ${chain('service', 'gone')}`)}`,
  )
  await nft('flush chain ip kube-proxy nat-output')
  await nft(
    'flush chain ip kube-proxy cluster-ips-check',
    'add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject',
    'add rule ip kube-proxy cluster-ips-check ip daddr { 10.96.0.0/17, 10.97.0.0/16 } drop',
    'flush chain ip6 kube-proxy cluster-ips-check',
  )
  return [
    'plant/endpoint: endpoints',
    'plant/missing-endpoint: endpoints',
    'plant/sticky: session affinity',
    'plant/half-sticky: rules not understood',
    'plant/timeout: session affinity',
    'plant/masquerade: source address replaced',
    'plant/policy: endpoints',
    'plant/pods: endpoints for pods',
    'plant/refusal: without endpoints',
    'plant/gone: the frontend',
    'plant/gone: the frontend',
    'plant/ranges: allowed sources',
    'plant/firewall: allowed sources',
    'plant/node-port: Service',
    'plant/hairpin: replaced towards itself',
    '(all): chain nat-output',
    '(all): dropped unless a Service has it',
    '(all): chain cluster-ips-check',
  ]
}

interface ServiceSpec {
  readonly clusterIP: string
  readonly ports: readonly [{ readonly nodePort: number }]
}
