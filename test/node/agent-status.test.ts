import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../src/demo/pods.ts'
import { AgentLab, skip } from './agent-lab.ts'
import { dns, http, serviceWith } from './manifests.ts'

describe('a node at a glance', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let web: RunningPod

  before(async () => {
    lab = await AgentLab.build()
    const pods = await lab.pods(['client', 'web-1'], 10)
    client = pods[0]!
    web = pods[1]!
    const ports = [http, dns]
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.7.1'], ports }, [web]))
    lab.write('other', serviceWith({ name: 'other', namespace: 'apart', vips: ['10.96.7.2'] }, []))
    lab.write('headless', serviceWith({ name: 'headless', vips: ['None'] }, []).slice(0, 1))
    lab.write('wrong', serviceWith({ name: 'wrong', vips: ['10.96.7.3'], settings: { nonsense: '1' } }, [web]))
  })

  after(() => lab?.destroy())

  const status = (...args: readonly string[]) => lab.lightpath('status', ...args, '--socket', lab.socket)
  const services = (...args: readonly string[]) => lab.lightpath('services', ...args, '--socket', lab.socket)

  test('without an agent status and services say that it is dead and what goes on without it', async () => {
    for (const { code, stdout, stderr } of [await status(), await services()]) {
      assert.deepEqual([code, stdout], [1, ''])
      assert.match(stderr, /^lightpath \w+: there is no socket .*goes on working without it.*\n$/)
    }
  })

  test('status counts the ports of each layer, says which wait for Envoy and why, and shows the problems', async () => {
    await lab.agent.up()
    await lab.until('the Services', async () => (await services('-n', 'default')).stdout.includes('wrong'))
    const alone = await status()
    assert.equal(alone.code, 0)
    assert.match(alone.stdout, /^ {2}Envoy: not connected; the kernel layer serves all Services$/m)
    assert.match(
      alone.stdout,
      /^ {2}ports in the kernel that wait for Envoy: 2, since Envoy is down or not connected \(default\/web\/http, default\/wrong\/http\)$/m,
    )
    assert.match((await services()).stdout, /^default +web +http:80\/TCP +10\.96\.7\.1 +kernel, waits for Envoy +1$/m)
    await lab.start()
    await lab.untilServedBy('envoy', client, 'http://10.96.7.1/')
    await lab.until('both ports', async () => (await lab.metric('lightpath_overlay_entries')) === 2)
    const { stdout } = await status()
    for (const line of [
      /^Node node1, Lightpath \S+$/m,
      /^ {2}source: all told: 4 Services with 4 ports, 3 EndpointSlices$/m,
      /^ {2}Envoy 1\.40\.0 \(node1\): up, connected since \d{4}-\d\d-\d\dT[\d:.]+Z$/m,
      /^ {2}ports in Envoy: 2$/m,
      /^ {2}ports in the kernel: 2$/m,
      /^ {2}LP201 Service default\/wrong: .*; .*$/m,
    ])
      assert.match(stdout, line)
    assert.doesNotMatch(stdout, /wait for Envoy/)
  })

  test('status --output json is for programs', async () => {
    const { envoy, layers, waiting, problems } = JSON.parse((await status('--output', 'json')).stdout)
    assert.deepEqual([envoy.up, envoy.clients.length, envoy.clients[0].version], [true, 1, '1.40.0'])
    assert.deepEqual([layers, waiting], [{ envoy: 2, kernel: 2, draining: 0 }, []])
    assert.deepEqual([problems.length, problems[0].code], [1, 'LP201'])
  })

  test('services lists every port with its layer, endpoints and problems, and Services that are not served', async () => {
    const { code, stdout, stderr } = await services()
    assert.deepEqual([code, stderr], [0, ''])
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map(line => line.split(/ {2,}/)),
      [
        ['NAMESPACE', 'NAME', 'PORT', 'VIP', 'LAYER', 'ENDPOINTS', 'PROBLEMS'],
        ['apart', 'other', 'http:80/TCP', '10.96.7.2', 'kernel', '0'],
        ['default', 'headless', '-', '-', 'not served', '0'],
        ['default', 'web', 'dns:53/UDP', '10.96.7.1', 'kernel', '1'],
        ['default', 'web', 'http:80/TCP', '10.96.7.1', 'Envoy (http)', '1'],
        ['default', 'wrong', 'http:80/TCP', '10.96.7.3', 'Envoy (http)', '1', 'LP201'],
      ],
    )
  })

  test('services of one namespace, and as JSON', async () => {
    const rows = JSON.parse((await services('--namespace', 'apart', '--output', 'json')).stdout)
    assert.deepEqual(rows, [
      {
        namespace: 'apart',
        name: 'other',
        port: { id: 'apart/other/http', name: 'http', number: 80, protocol: 'TCP' },
        vip: '10.96.7.2',
        layer: 'kernel',
        endpoints: 0,
        problems: [],
      },
    ])
    assert.equal((await services('-n', 'nowhere')).stdout, 'no Services\n')
  })
})
