import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { dns, http, serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

describe('a node at a glance', { skip }, () => {
  const temporary = mkdtempSync(join(tmpdir(), 'lightpath-status-'))
  let lab: AgentLab
  let client: RunningPod
  let web: RunningPod

  before(async () => {
    const kubeconfig = join(temporary, 'kubeconfig')
    writeFileSync(kubeconfig, 'users: [{name: admin, user: {token: hunter2-token}}]')
    lab = await AgentLab.build({ env: { SECRET: 'hunter2-environment' }, flags: ['--kubeconfig', kubeconfig] })
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
  after(() => rmSync(temporary, { recursive: true }))

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
    const waiting =
      /^ {2}ports in the kernel that wait for Envoy: 2, since Envoy is down or not connected \(default\/web\/http, default\/wrong\/http\)$/m
    await lab.until('two ports that wait', async () => waiting.test((await status()).stdout))
    const alone = await status()
    assert.equal(alone.code, 0)
    assert.match(alone.stdout, /^ {2}Envoy: not connected; the kernel layer serves all Services$/m)
    assert.match(
      (await services()).stdout,
      /^default +web +http:80\/TCP +10\.96\.7\.1 +kernel, waits for Envoy +- +1 +-$/m,
    )
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

  const noEndpoint = 'no usable endpoint: the kernel refuses connections, as kube-proxy does'

  test('services lists every port with its layer, endpoints and problems, and Services that are not served', async () => {
    const { code, stdout, stderr } = await services()
    assert.deepEqual([code, stderr], [0, ''])
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map(line => line.split(/ {2,}/)),
      [
        ['NAMESPACE', 'NAME', 'PORT', 'VIP', 'LAYER', 'EXTERNAL', 'ENDPOINTS', 'PROBLEMS', 'WHY'],
        ['apart', 'other', 'http:80/TCP', '10.96.7.2', 'kernel', '-', '0', '-', noEndpoint],
        ['default', 'headless', '-', '-', 'not served', '-', '0', '-'],
        ['default', 'web', 'dns:53/UDP', '10.96.7.1', 'kernel', '-', '1', '-', 'Envoy does not balance UDP'],
        ['default', 'web', 'http:80/TCP', '10.96.7.1', 'Envoy (http)', '-', '1', '-'],
        ['default', 'wrong', 'http:80/TCP', '10.96.7.3', 'Envoy (http)', '-', '1', 'LP201'],
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
        why: noEndpoint,
      },
    ])
    assert.equal((await services('-n', 'nowhere')).stdout, 'no Services\n')
  })

  async function dumped(name: string) {
    const [archive, into] = [join(lab.network.directory, `${name}.tar.gz`), join(lab.network.directory, name)]
    const result = await lab.lightpath('debug', 'dump', '--socket', lab.socket, '--file', archive)
    assert.deepEqual([result.code, result.stdout], [0, `${archive}\n`], result.stderr)
    assert.equal(statSync(archive).mode & 0o777, 0o600)
    mkdirSync(into)
    const tar = await lab.on('tar', ['-xzf', archive, '-C', into, '--strip-components=1'])
    assert.deepEqual([tar.code, tar.stderr], [0, ''])
    const files = readdirSync(into, { recursive: true, withFileTypes: true }).filter(file => file.isFile())
    const read = (file: string) => readFileSync(join(into, file), 'utf8')
    const names = files.map(file => join(file.parentPath, file.name).slice(into.length + 1))
    return { read, names, all: names.map(read).join('\n'), stderr: result.stderr }
  }

  test('debug dump packs agent, Envoy and kernel into one archive for its owner, without secrets', async () => {
    const { read, all, stderr } = await dumped('alive')
    assert.equal(stderr, '')
    assert.equal(read('missing.txt'), 'nothing\n')
    assert.equal(JSON.parse(read('agent/config.json')).nodeName, 'node1')
    assert.ok(JSON.parse(read('agent/states.json')).some(({ id }: { id: string }) => id === 'default/web/http'))
    assert.match(read('agent/metrics.txt'), /^lightpath_envoy_up 1$/m)
    const lines = read('agent/log.jsonl').trimEnd().split('\n')
    assert.ok(lines.every(line => JSON.parse(line).level))
    assert.match(lines.join('\n'), /"synchronised"/)
    const events = read('agent/events.jsonl').trimEnd().split('\n')
    assert.ok(events.some(line => /"Service default\/wrong".*"InvalidSetting"/.test(line)))
    assert.match(read('envoy/config_dump.json'), /default\/web\/http/)
    assert.match(read('envoy/stats.txt'), /^cluster\./m)
    assert.match(read('kernel/nft-ip.txt'), /10\.96\.7\.1 \. tcp \. 80/)
    assert.match(read('kernel/routes-ip.txt'), /local/)
    assert.match(JSON.parse(read('versions.json')).lightpath, /^\d/)
    assert.match(all, /kubeconfig/)
    assert.doesNotMatch(all, /hunter2/)
  })

  test('debug dump with agent and Envoy dead packs what the kernel has and says what is missing', async () => {
    await lab.agent.down('SIGKILL')
    await lab.envoy.down('SIGKILL')
    const { read, names, stderr } = await dumped('dead')
    assert.match(read('kernel/nft-ip.txt'), /10\.96\.7\.1 \. tcp \. 80/)
    assert.deepEqual(
      names.filter(name => /^(agent|envoy)/.test(name)),
      [],
    )
    for (const text of [stderr, read('missing.txt')]) {
      assert.match(text, /agent\/status\.json: nobody answers on .*: the agent is dead/)
      assert.match(
        text,
        /envoy\/config_dump\.json: Envoy does not answer \/config_dump\?include_eds on .*\/admin-1\.sock/,
      )
    }
  })
})
