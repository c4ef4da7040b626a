import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setFault } from '../../../../src/lab/clients.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { serviceWith, slice } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

describe('what the agent tells of itself and its Services', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let pods: readonly RunningPod[]
  const url = 'http://10.96.6.1/'
  const id = 'default/web/http'
  const port = 'namespace="default",service="web",port="http"'

  before(async () => {
    lab = await AgentLab.build()
    const [first, ...others] = await lab.pods(['client', 'web-1', 'web-2', 'web-3'], 10)
    client = first!
    pods = others
    const options = { name: 'web', vips: ['10.96.6.1'], settings: { 'num-retries': '5', 'idle-timeout': '1h' } }
    const [service] = serviceWith(options, [])
    lab.write('web', [service!, slice(options, [pods[0]!, pods[1]!, { ...pods[2]!, state: 'unready' }])])
    lab.write('web-other', serviceWith({ name: 'web-other', vips: ['10.96.6.2'] }, pods))
  })

  after(() => lab?.destroy())

  const explain = (...args: readonly string[]) => lab.lightpath('explain', ...args, '--socket', lab.socket)

  test('without an agent explain says that it is dead, why, and what goes on without it', async () => {
    const { code, stdout, stderr } = await explain('default/web')
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /^lightpath explain: there is no socket .*agent\.sock: no agent was started with it\..*lightpath node`\n$/,
    )
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.agent.down('SIGKILL')
    assert.match(
      (await explain('default/web')).stderr,
      /nobody answers on .*: the agent is dead\. What it told Envoy and the kernel goes on/,
    )
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  test('explain says what was asked for, which settings and endpoints apply and why, and who has acknowledged what', async () => {
    await lab.until('all acknowledged and healthy', async () => {
      const { envoyPorts, health } = (await lab.explain('default/web')) ?? {}
      const { resources } = envoyPorts?.[id] ?? {}
      const isHealthy = Object.values(health?.[id] ?? {}).filter(({ healthy }) => healthy).length === 2
      return resources?.every(({ status }) => status === 'acknowledged') && isHealthy
    })
    const { code, stdout, stderr } = await explain('default/web')
    assert.deepEqual([code, stderr], [0, ''])
    for (const line of [
      /^Service default\/web on node node1 \(Envoy 1\.40\.0 is up\)$/m,
      /^ {2}ClusterIP, cluster IP 10\.96\.6\.1, session affinity None, internal traffic policy Cluster$/m,
      /^Port http: 10\.96\.6\.1 80\/TCP$/m,
      /^ {2}layer: Envoy, as http \(port name http\)$/m,
      /^ {2}num-retries +5 +config\.lightpath\.cloud\/http-num-retries$/m,
      /^ {2}defaults: (.*,\n {12})*.*lb-policy as --lb-policy says/m,
      /^ {2}10\.244\.1\.11:8080 +node1 +yes +healthy\b/m,
      /^ {2}10\.244\.1\.13:8080 +node1 +no: not ready$/m,
      /^ {2}cluster +10\.96\.6\.1:80 +\S+ +acknowledged$/m,
      /^ {2}endpoints +10\.96\.6\.1:80 +\S+ +acknowledged$/m,
      /^ {2}route +10\.96\.6\.1:80 +\S+ +acknowledged$/m,
      /^ {2}listener +10\.96\.6\.1:80 +\S+ +acknowledged$/m,
      /^ {2}listener +shared-IPv4 +\S+ +acknowledged$/m,
      /^ {2}scope +10\.96\.6\.1:80 +\S+ +acknowledged$/m,
      /^ {2}kernel, confirmed:$/m,
      /^ {4}services 10\.96\.6\.1 \. tcp \. 80 : goto endpoints-tcp-2$/m,
      /^ {4}envoy-own 10\.96\.6\.1 \. 80$/m,
    ])
      assert.match(stdout, line)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are made of these
    assert.doesNotMatch(stdout, /\u001b/)
  })

  test('explain --output json is for programs', async () => {
    const { code, stdout } = await explain('default/web', '--output', 'json')
    assert.equal(code, 0)
    const { node, service, envoy, envoyPorts, kernelPorts, health, problems } = JSON.parse(stdout)
    assert.deepEqual([node, service.name, envoy, problems], ['node1', 'web', { up: true, versions: ['1.40.0'] }, []])
    assert.deepEqual([service.ports[0].id, envoyPorts[id].up, kernelPorts[id].confirmed], [id, true, true])
    assert.deepEqual(health[id], {
      '10.244.1.11:8080': { ejected: false, healthy: true },
      '10.244.1.12:8080': { ejected: false, healthy: true },
    })
  })

  test('explain of a Service that there is not suggests those with similar names', async () => {
    const unknown = await explain('defualt/web')
    assert.deepEqual([unknown.code, unknown.stdout], [1, ''])
    assert.match(unknown.stderr, /^lightpath explain: there is no Service defualt\/web; did you mean default\/web/)
    assert.match((await explain('default/nothing')).stderr, /no Service default\/nothing; is it in the source\?/)
    for (const wrong of ['web', 'a/b/c', '/', 'a/']) {
      const { code, stderr } = await explain(wrong)
      assert.equal(code, 2)
      assert.match(stderr, /is not namespace\/name\n$/)
    }
  })

  test('metrics count what Envoy saw of a Service port: answers by class, durations, retries, ejections', async () => {
    // Nobody has called this one before.
    const [otherUrl, other] = ['http://10.96.6.2/', port.replace('web', 'web-other')]
    await lab.until('it in Envoy', async () => (await lab.overlay()).includes('10.96.6.2 . 80'))
    await (await lab.load(client, { url: otherUrl, connections: 4, requests: 200 })).report
    await lab.untilMetric(`lightpath_requests_total{${other},code_class="2xx"}`, 200)

    await setFault(pods[0]!, 8080, 503)
    const { errors } = await (await lab.load(client, { url, connections: 4, requests: 200 })).report
    assert.deepEqual(errors, {})
    await lab.until('a retry', async () => (await lab.metric(`lightpath_retries_total{${port}}`))! >= 1)
    await lab.until('an ejection', async () => (await lab.metric(`lightpath_ejected_endpoints{${port}}`)) === 1)
    await lab.until('its count', async () => (await lab.metric(`lightpath_ejections_total{${port}}`))! >= 1)
    assert.match((await explain('default/web')).stdout, /^ {2}10\.244\.1\.11:8080 +node1 +yes +ejected\b/m)
    await setFault(pods[0]!, 8080, 200)

    await setFault(pods[1]!, 8080, 404)
    await lab.until('a 404', async () => (await lab.ask(client, url, '--fail')) === 'curl 22')
    await lab.until(
      'its class',
      async () => (await lab.metric(`lightpath_requests_total{${port},code_class="4xx"}`))! >= 1,
    )
    await setFault(pods[1]!, 8080, 200)

    const count = `lightpath_request_duration_seconds_count{${port}}`
    await lab.until('durations', async () => (await lab.metric(count))! >= 200)
    const text = await lab.page('/metrics', 9001)
    const sample = new RegExp(`^lightpath_request_duration_seconds_bucket\\{${port},le="(.+)"\\} (\\d+)$`, 'gm')
    const buckets = [...text.matchAll(sample)].map(([, syncedThrough, requests]) => ({
      syncedThrough: Number(syncedThrough!.replace('+Inf', 'Infinity')),
      requests: Number(requests),
    }))
    assert.ok(buckets.length > 5)
    // Each bucket counts those below it too, and all requests together took no longer than their buckets allow.
    let longest = 0
    let below = 0
    for (const { syncedThrough, requests } of buckets) {
      assert.ok(requests >= below)
      if (requests > below) longest += (requests - below) * syncedThrough
      below = requests
    }
    const sampleOf = (name: string) => Number(text.split(`\n${name} `)[1]?.split('\n')[0])
    assert.equal(below, sampleOf(count))
    const sum = sampleOf(`lightpath_request_duration_seconds_sum{${port}}`)
    assert.ok(sum > 0 && sum <= longest, `${sum} s in all, of at most ${longest}`)
  })

  test('metrics count objects, changes, entries, xDS traffic and the time that programming takes', async () => {
    lab.write('counted', serviceWith({ name: 'counted', vips: ['10.96.6.3', 'fd00:96:6::3'] }, pods))
    await lab.until('two more entries', async () => (await lab.metric('lightpath_overlay_entries')) === 4)
    const expected: readonly (readonly [string, (value: number) => boolean])[] = [
      ['lightpath_objects{kind="services"}', value => value === 3],
      ['lightpath_objects{kind="endpointSlices"}', value => value === 4],
      ['lightpath_objects{kind="ports"}', value => value === 4],
      ['lightpath_changes_total{kind="Service"}', value => value >= 3],
      ['lightpath_kernel_elements', value => value >= 4 * 3],
      ['lightpath_envoy_up', value => value === 1],
      ['lightpath_draining_ports', value => value === 0],
      ['lightpath_xds_requests_total{type="Listener"}', value => value >= 2],
      ['lightpath_xds_responses_total{type="Cluster"}', value => value >= 1],
      ['lightpath_xds_nacks_total{type="Cluster"}', value => value === 0],
      ['lightpath_xds_sent_bytes_total{type="ClusterLoadAssignment"}', value => value > 100],
      ['lightpath_programming_duration_seconds_count{layer="envoy"}', value => value >= 2],
      ['lightpath_programming_duration_seconds_count{layer="kernel"}', value => value >= 2],
      ['lightpath_kernel_transaction_seconds_count', value => value >= 2],
    ]
    for (const [name, isRight] of expected) {
      const value = await lab.metric(name)
      assert.ok(value !== undefined && isRight(value), `${name} is ${value}`)
    }
  })

  test('every line of the metrics has the form that Prometheus reads, and each name its type once', async () => {
    const lines = (await lab.page('/metrics', 9001)).split('\n').filter(line => line !== '')
    for (const line of lines)
      assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)*\})? (\d[\d.e+-]*|NaN|\+Inf))$/)
    const types = lines.filter(line => line.startsWith('# TYPE')).map(line => line.split(' ')[2])
    assert.equal(new Set(types).size, types.length)
  })

  test('whoever asks sees no name of a Service in the metrics; those of Services are for processes of the node', async () => {
    const address = 'http://172.30.0.11'
    const { stdout: open } = await lab.on('curl', ['--silent', '--fail', `${address}:9000/metrics`])
    assert.match(open, /^lightpath_envoy_up 1$/m)
    assert.match(open, /^kubeproxy_/m)
    assert.doesNotMatch(open, /default|web|counted/)
    assert.match(await lab.page('/metrics', 9001), /service="web"/)
    assert.equal(await lab.ask(client, `${address}:9001/metrics`), 'curl 7')
    assert.equal(await lab.ask(client, `${address}:9000/metrics`, '--fail'), ' by ')
  })

  test('healthz and readyz answer, other pages and methods are refused', async () => {
    const status = async (...args: readonly string[]) =>
      (await lab.on('curl', ['--silent', '--output', '/dev/null', '--write-out', '%{http_code}', ...args])).stdout
    const base = 'http://172.30.0.11:9000'
    assert.deepEqual(
      [
        await status(`${base}/healthz`),
        await status(`${base}/readyz`),
        await status(`${base}/explain?service=default/web`),
        await status(`${base}/__proto__`),
        await status('--request', 'POST', `${base}/metrics`),
      ],
      ['200', '200', '404', '404', '405'],
    )
    // Not ready before the source has told everything: here there is no directory.
    await lab.agent.down()
    const elsewhere = lab.agentWith({ source: '/nonexistent' })
    await elsewhere.up()
    await lab.until('health', async () => (await status(`${base}/healthz`)) === '200')
    assert.equal(await status(`${base}/readyz`), '503')
    // And nothing was taken from what a previous run left.
    assert.match(await lab.ask(client, url), / by envoy$/)
    await elsewhere.down()
  })
})
