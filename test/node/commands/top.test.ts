import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Load, setFault } from '../../../src/lab/clients.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import type { Report } from '../../../src/top/report.ts'
import { AgentLab, lightpathProgram, skip } from '../agent/lab.ts'
import { http, serviceWith } from '../manifests.ts'

describe('live traffic of a node', { skip }, () => {
  let lab: AgentLab
  let pods: readonly RunningPod[]
  let loads: readonly Load[]

  before(async () => {
    lab = await AgentLab.build({ flags: ['--services', 'labelled'] })
    const [client, ...others] = await lab.pods(['client', 'web-1', 'web-2', 'web-3', 'web-4'], 10)
    pods = others
    const labels = { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' }
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.4.1', 'fd00:96::41'], labels }, pods))
    const below = { name: 'below', namespace: 'apart', vips: ['10.96.4.2'], settings: { overlay: 'false' }, labels }
    lab.write('below', serviceWith(below, pods))
    lab.write(
      'theirs',
      serviceWith({ name: 'theirs', vips: ['10.96.4.3'], ports: [{ ...http, nodePort: 30080 }] }, pods),
    )
    await lab.start()
    for (const url of ['http://10.96.4.1/', 'http://[fd00:96::41]/']) await lab.untilServedBy('envoy', client!, url)
    await lab.untilServedBy('kernel', client!, 'http://10.96.4.2/')
    const urls = ['http://10.96.4.1/', 'http://[fd00:96::41]/', 'http://10.96.4.2/']
    loads = await Promise.all(urls.map(url => lab.load(client!, { url, connections: 2, rate: 40 })))
  })

  after(async () => {
    for (const load of loads ?? []) await load.stop()
    await lab?.destroy()
  })

  const top = (...args: readonly string[]) => lab.lightpath('top', ...args, '--socket', lab.socket)
  /** Each of the last second. */
  const reports = async (...args: readonly string[]) =>
    (await top('--output', 'json', '--interval', '1', ...args)).stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Report)
  const portOf = ({ ports }: Report, name: string) => ports.find(({ service }) => service === name)!

  test('through Envoy every request counts, and all endpoints have a share of two pinned connections’ requests', async () => {
    const all = await reports('--times', '7')
    assert.equal(all.length, 7)
    const each = all.map(report => portOf(report, 'web'))
    const web = each.at(-1)!
    assert.deepEqual([web.layer, web.pinnedConnections, web.errorsPerSecond], ['envoy', 0, 0])
    const busiest = each.toSorted((a, b) => b.requestsPerSecond - a.requestsPerSecond)[0]!
    assert.ok(busiest.requestsPerSecond > 20, String(busiest.requestsPerSecond))
    assert.ok(web.connections >= 2, String(web.connections))
    // Envoy gives its histograms every five seconds.
    const { latency } = each.findLast(port => port.latency.p50 !== undefined)!
    assert.ok(latency.p50! > 0 && latency.p99! >= latency.p50!)
    // Both families of the Service, each with endpoints of its own.
    assert.deepEqual(
      new Set(web.endpoints.map(({ address }) => address)),
      new Set(pods.flatMap(({ ip, ip6 }) => [`${ip}:8080`, `[${ip6}]:8080`])),
    )
    const asked = each.flatMap(({ endpoints }) => endpoints.filter(({ requestsPerSecond }) => requestsPerSecond > 0))
    for (const { address } of web.endpoints)
      assert.ok(
        asked.some(endpoint => endpoint.address === address),
        address,
      )
  })

  test('connections of the node itself go through Envoy without a mark, and are not pinned either', async () => {
    const command = `${lightpathProgram} top default/web --output json --interval 1 --once --socket ${lab.socket}`
    const { stdout } = await lab.on('bash', ['-c', `exec 3<>/dev/tcp/10.96.4.1/80; ${command}`])
    assert.equal(portOf(JSON.parse(stdout) as Report, 'web').pinnedConnections, 0)
  })

  test('in the kernel layer nobody counts requests, and connections are where they began', async () => {
    const [report] = await reports('--once', 'apart/below')
    assert.deepEqual(
      report!.ports.map(({ service, layer, connections, pinnedConnections }) => [
        service,
        layer,
        connections,
        pinnedConnections,
      ]),
      [['below', 'kernel', 2, 2]],
    )
    const { endpoints } = report!.ports[0]!
    assert.equal(
      endpoints.reduce((sum, { pinnedConnections }) => sum + pinnedConnections, 0),
      2,
    )
    assert.ok(endpoints.every(({ address }) => pods.some(({ ip }) => address === `${ip}:8080`)))
  })

  test('the busiest Service comes first, then open connections, then those of kube-proxy without any', async () => {
    const [report] = await reports('--once')
    assert.deepEqual(
      report!.ports.map(({ service, layer }) => [service, layer]),
      [
        ['web', 'envoy'],
        ['below', 'kernel'],
        ['theirs', 'kube-proxy'],
      ],
    )
    const [ofNamespace] = await reports('--once', 'apart')
    assert.deepEqual(
      ofNamespace!.ports.map(({ service }) => service),
      ['below'],
    )
  })

  test('for people it is a table without colours, and of one Service a line for each endpoint', async () => {
    const { code, stdout, stderr } = await top('--once', '--interval', '5', 'default/web')
    assert.deepEqual([code, stderr.replaceAll(/.* looks at the traffic of this node …\n/g, '')], [0, ''])
    assert.match(stdout, /^node node1, \d\d:\d\d:\d\d UTC, of the last [\d.]+ s$/m)
    assert.match(stdout, /^default\/web:http +Envoy +\d+ +[\d.]+ms +[\d.]+ms +0 +0 +0 +\d+ +0( +\d+%)+$/m)
    for (const { ip } of pods) assert.match(stdout, new RegExp(`^  ${ip}:8080 +\\d+%  #+ +[\\d.]+ requests/s$`, 'm'))
    assert.ok(!stdout.includes('\u001b'))
  })

  test('answers that fail are errors', async () => {
    for (const pod of pods) await setFault(pod, 8080, 500)
    await lab.until('errors', async () => portOf((await reports('--once'))[0]!, 'web').errorsPerSecond > 0)
    for (const pod of pods) await setFault(pod, 8080, 200)
  })

  test('it goes on until its reader has gone, or whoever asked for it by exec', async () => {
    const command = `${lightpathProgram} top --output json --interval 0.5 --socket ${lab.socket}`
    for (const script of [`${command} | head -n 2`, `sleep 8 | ${command} --attached`]) {
      const { code, stdout } = await lab.on('sh', ['-c', script], { timeoutMs: 60_000 })
      assert.equal(code, 0)
      assert.ok(stdout.trim().split('\n').length >= 2, stdout)
    }
  })

  test('what is no number or no Service is a mistake, and without an agent it says that it is dead', async () => {
    for (const [args, words] of [
      [['--interval', '0'], /--interval is "0", which is not a number of seconds from 0\.5 up/],
      [['--times', 'x'], /--times is "x"/],
      [['a/b/c'], /"a\/b\/c" is not NAMESPACE or NAMESPACE\/NAME/],
    ] as const) {
      const { code, stderr } = await top(...args)
      assert.equal(code, 2)
      assert.match(stderr, words)
    }
    await lab.agent.down('SIGKILL')
    const { code, stderr } = await top('--once')
    assert.equal(code, 1)
    assert.match(stderr, /nobody answers on .*: the agent is dead/)
  })
})
