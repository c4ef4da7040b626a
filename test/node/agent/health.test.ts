import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { dns, type Endpoint, type ServiceOptions, serviceWith } from '../manifests.ts'
import { AgentLab, skip } from './lab.ts'

describe('what load balancers ask a node', { skip }, () => {
  let lab: AgentLab
  const node = (spec: object = {}, metadata: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node1', ...metadata },
    spec,
    status: { addresses: [lab.node.address, lab.node.address6].map(address => ({ type: 'InternalIP', address })) },
  })

  before(async () => {
    lab = await AgentLab.build({ flags: ['--metrics-bind-address', '127.0.0.1:10249'] })
    await lab.agent.up()
    await lab.until('the agent', () => lab.page('/readyz'))
  })

  after(() => lab?.destroy())

  /** Status, headers and body; undefined where nobody listens. */
  async function ask(host: string, port: number, path = '/') {
    const { code, stdout } = await lab.on('curl', ['-si', '--max-time', '5', `http://${host}:${port}${path}`])
    if (code !== 0) return undefined
    const [head = '', body = ''] = stdout.split('\r\n\r\n')
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? []
    const weight = /^x-load-balancing-endpoint-weight: (.*)\r?$/im.exec(head)?.[1]
    return { status: Number(status), weight, type: /^content-type: (.*)\r?$/im.exec(head)?.[1], body }
  }

  const pod = (host: number, node: string, state?: Endpoint['state']): Endpoint => {
    return { name: `pod-${host}`, node, ip: `10.244.1.${host}`, ip6: `fd00:244:1::${host}`, state }
  }

  function balanced(name: string, vips: readonly string[], port: number, endpoints: readonly Endpoint[]): void {
    const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: port }
    const options: ServiceOptions = { name, vips, spec }
    lab.write(name, serviceWith(options, endpoints))
  }

  const untilAnswered = (port: number, status: number | undefined, host = '127.0.0.1') =>
    lab.until(`${status} on port ${port} of ${host}`, async () => {
      const answer = await ask(host, port)
      return answer?.status === status ? { answer } : undefined
    })

  test('healthCheckNodePort answers 200 with the number of local ready endpoints, and 503 without, as kube-proxy', async () => {
    balanced('lb', ['10.96.8.1'], 32001, [pod(2, 'node1'), pod(3, 'node1'), pod(4, 'node2')])
    await untilAnswered(32001, 200)
    assert.deepEqual(await ask('127.0.0.1', 32001, '/any/path?x=1'), {
      status: 200,
      weight: '2',
      type: 'application/json',
      body: [
        '{',
        '\t"service": {',
        '\t\t"namespace": "default",',
        '\t\t"name": "lb"',
        '\t},',
        '\t"localEndpoints": 2,',
        '\t"serviceProxyHealthy": true',
        '}',
      ].join('\n'),
    })
    balanced('lb', ['10.96.8.1'], 32001, [pod(2, 'node1', 'draining'), pod(4, 'node2')])
    const gone = await untilAnswered(32001, 503)
    const { stdout } = await lab.lightpath('explain', 'default/lb', '--socket', lab.socket)
    assert.match(stdout, /^ {2}load balancers ask this node at port 32001 \(IPv4\): 0 ready endpoints here$/m)
    assert.equal(gone.answer?.weight, '0')
    assert.deepEqual(JSON.parse(gone.answer!.body), {
      service: { namespace: 'default', name: 'lb' },
      localEndpoints: 0,
      serviceProxyHealthy: true,
    })
  })

  test('a health check follows its Service: another port, another Service, none any more', async () => {
    balanced('moving', ['10.96.8.2'], 32002, [pod(2, 'node1')])
    await untilAnswered(32002, 200)
    balanced('moving', ['10.96.8.2'], 32003, [pod(2, 'node1')])
    await untilAnswered(32003, 200)
    await untilAnswered(32002, undefined)
    lab.remove('moving')
    balanced('heir', ['10.96.8.3'], 32003, [pod(2, 'node1'), pod(3, 'node1')])
    await lab.until('the heir', async () => (await ask('127.0.0.1', 32003))?.body.includes('"heir"'))
    await lab.until('no problem', async () => (await lab.problems('default/heir')).length === 0)
    lab.write('heir', serviceWith({ name: 'heir', vips: ['10.96.8.3'] }, []))
    await untilAnswered(32003, undefined)
  })

  test('a dual-stack Service answers on the addresses of each family, with its endpoints', async () => {
    balanced('dual', ['10.96.8.4', 'fd00:96:8::4'], 32004, [pod(2, 'node1')])
    for (const host of ['127.0.0.1', '[::1]']) await untilAnswered(32004, 200, host)
    balanced('four', ['10.96.8.5'], 32005, [pod(2, 'node1')])
    await untilAnswered(32005, 200)
    assert.equal(await ask('[::1]', 32005), undefined)
  })

  test('a port in use is a problem of the Service, and is opened when it is free', async () => {
    const script = `require('net').createServer().listen(32006, () => process.stdout.end('listening'))`
    const other = await lab.network.processes.spawnIn(lab.node.netns, process.execPath, ['--eval', script], {
      pipeStdout: true,
    })
    await once(other.stdout!, 'data')
    balanced('taken', ['10.96.8.6'], 32006, [pod(2, 'node1')])
    const [found] = await lab.until('the problem', async () => {
      const problems = await lab.problems('default/taken')
      return problems.length > 0 ? problems : undefined
    })
    assert.equal(found, 'LP502 healthCheckNodePort 32006: 0.0.0.0:32006 is in use by another process')
    await other.stop()
    await untilAnswered(32006, 200)
    await lab.until('the end of the problem', async () => (await lab.problems('default/taken')).length === 0)
  })

  test('where the Node has addresses, health checks listen on its first of each family alone', async () => {
    balanced('primary', ['10.96.8.7', 'fd00:96:8::7'], 32007, [pod(2, 'node1')])
    await untilAnswered(32007, 200)
    lab.write('node', [node()])
    await untilAnswered(32007, undefined)
    await untilAnswered(32007, 200, lab.node.address)
    await untilAnswered(32007, 200, `[${lab.node.address6}]`)
    assert.equal(await ask('[::1]', 32007), undefined)
    lab.remove('node')
    await untilAnswered(32007, 200)
  })

  test('with --nodeport-addresses health checks listen on the addresses in its ranges, and say where there is none', async () => {
    balanced('ranges', ['10.96.8.10', 'fd00:96:8::10'], 32010, [pod(2, 'node1')])
    await untilAnswered(32010, 200)
    const flags = ['--nodeport-addresses', '127.0.0.0/8,fd99::/64']
    await lab.agent.down()
    const other = lab.agentWith({ flags })
    try {
      await other.up()
      await untilAnswered(32010, 200)
      assert.equal(await ask(lab.node.address, 32010), undefined)
      const found = await lab.until('the problem', async () => (await lab.problems('default/ranges'))[0])
      assert.match(
        found,
        /^LP502 healthCheckNodePort 32010: no address of this node is in 127\.0\.0\.0\/8, fd99::\/64$/,
      )
    } finally {
      await other.down()
      await lab.agent.up()
    }
    await untilAnswered(32010, 200, lab.node.address)
  })

  test('/healthz and /livez on port 10256 answer as kube-proxy: a node that is going is not healthy, but alive', async () => {
    const codes = async () => [
      (await ask('127.0.0.1', 10256, '/healthz'))?.status,
      (await ask('127.0.0.1', 10256, '/livez'))?.status,
    ]
    const until = (healthz: number) =>
      lab.until(`/healthz ${healthz}`, async () => (await codes()).join() === `${healthz},200`)
    await until(200)
    const { type, body } = (await ask(lab.node.address, 10256, '/healthz'))!
    assert.equal((await ask(`[${lab.node.address6}]`, 10256, '/healthz'))?.status, 200)
    const { healthy, nodeEligible, status } = JSON.parse(body)
    assert.deepEqual(
      [type, healthy, nodeEligible, status.IPv4.healthy, status.IPv6.healthy],
      ['application/json', true, true, true, true],
    )
    lab.write('node', [node({ taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] })])
    await until(503)
    lab.write('node', [node({ taints: [{ key: 'other', effect: 'NoSchedule' }] })])
    await until(200)
    lab.write('node', [node({}, { deletionTimestamp: '2026-01-01T00:00:00Z' })])
    await until(503)
    lab.remove('node')
    await until(200)
    assert.equal((await ask('127.0.0.1', 10256, '/metrics'))?.status, 404)
  })

  test("kube-proxy's metrics are at port 10249 and beside ours, and /proxyMode says nftables", async () => {
    const [service, slices] = serviceWith({ name: 'timed', vips: ['10.96.8.8'] }, [pod(2, 'node1')]) as [object, object]
    const timed = (slice: object & { metadata?: object }) => ({
      ...slice,
      metadata: {
        ...slice.metadata,
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString() },
      },
    })
    lab.write('timed', [service, timed(slices)])
    const away = { type: 'NodePort', externalTrafficPolicy: 'Local' }
    const ports = [{ name: 'http', port: 80, targetPort: 8080, nodePort: 32080 }]
    lab.write('away', serviceWith({ name: 'away', vips: ['10.96.8.9'], spec: away, ports }, [pod(4, 'node2')]))
    lab.write('udp', serviceWith({ name: 'udp', vips: ['10.96.8.11'], ports: [dns] }, [pod(2, 'node1')]))
    const sample = async (name: string) => {
      const { body = '' } = (await ask('127.0.0.1', 10249, '/metrics')) ?? {}
      const line = body.split('\n').find(line => line.startsWith(`kubeproxy_${name} `))
      return Number(line?.slice(line.lastIndexOf(' ')))
    }
    const ipv4 = 'ip_family="IPv4"'
    await lab.until('network programming', () => sample(`network_programming_duration_seconds_count{${ipv4}}`))
    const away4 = `sync_proxy_rules_no_local_endpoints_total{traffic_policy="external",${ipv4}}`
    await lab.until('no local endpoints', async () => (await sample(away4)) >= 1)
    lab.write('later', serviceWith({ name: 'later', vips: ['10.96.8.12'] }, []))
    for (const page of ['/healthz', '/livez']) assert.equal((await ask('127.0.0.1', 10256, page))?.status, 200)
    for (const name of [
      `conntrack_reconciler_sync_duration_seconds_count{${ipv4}}`,
      `sync_proxy_rules_duration_seconds_count{${ipv4}}`,
      `sync_full_proxy_rules_duration_seconds_count{${ipv4}}`,
      `sync_partial_proxy_rules_duration_seconds_count{${ipv4}}`,
      `sync_proxy_rules_last_timestamp_seconds{${ipv4}}`,
      `sync_proxy_rules_last_queued_timestamp_seconds{${ipv4}}`,
      'sync_proxy_rules_service_changes_total',
      'sync_proxy_rules_endpoint_changes_total',
      'proxy_healthz_total{code="200"}',
      'proxy_livez_total{code="200"}',
    ]) {
      await lab.until(name, async () => (await sample(name)) >= 1)
    }
    await lab.until('nothing pending', async () => (await sample('sync_proxy_rules_service_changes_pending')) === 0)
    assert.match(await lab.page('/metrics'), /^kubeproxy_sync_proxy_rules_duration_seconds_count/m)
    assert.match((await ask('127.0.0.1', 10249, '/metrics'))!.body, /^lightpath_envoy_up 0$/m)
    assert.equal((await ask('127.0.0.1', 10249, '/proxyMode'))?.body, 'nftables')
    assert.equal((await ask('127.0.0.1', 10249, '/healthz'))?.body, 'ok')
  })
})
