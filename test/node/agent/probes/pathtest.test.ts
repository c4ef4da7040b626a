import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

/** Strict reverse path filters, as on RHEL. */
describe('on a node that may not let pods reach Envoy', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const [url, url6] = ['http://10.96.8.1/', 'http://[fd00:96:8::1]/']

  before(async () => {
    lab = await AgentLab.build({ rpFilter: 1 })
    const pods = await lab.pods(['client', 'web-1'], 10)
    client = pods[0]!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.8.1', 'fd00:96:8::1'] }, pods.slice(1)))
  })

  after(() => lab?.destroy())

  afterEach(async () => {
    await Promise.all([lab.agent.down(), lab.envoy.down()])
    await lab.nft('delete', 'table', 'inet', 'lab-firewall')
    await lab.lightpath('cleanup')
    lab.forgetLog()
  })

  /** Rules of a base chain such as `type filter hook input priority filter`. */
  async function firewall(hook: string, ...rules: readonly string[]): Promise<void> {
    const { stderr } = await lab.on('nft', [
      `table inet lab-firewall { chain firewall { ${[hook, ...rules].map(rule => `${rule};`).join(' ')} }; }`,
    ])
    assert.equal(stderr, '')
  }

  const input = 'type filter hook input priority filter'

  async function leftovers(): Promise<string> {
    const [links, tables] = await Promise.all([lab.on('ip', ['-brief', 'link']), lab.nft('list', 'tables')])
    return (links.stdout + tables).match(/lightpath0|lightpath-path/g)?.join() ?? ''
  }

  /** The other family's test, or the next one, may be under way. */
  const untilNothingIsLeft = () => lab.until('nothing left of a test', async () => (await leftovers()) === '')

  const command = async (...args: readonly string[]) => (await lab.lightpath(...args, '--socket', lab.socket)).stdout

  test('an open path is found by a packet from a pod, which leaves nothing behind, and then the overlay is filled', async () => {
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.untilServedBy('envoy', client, url6)
    await lab.until('both tested', async () => (await lab.metric('lightpath_path_open{family="IPv6"}')) === 1)
    await lab.untilMetric('lightpath_path_open{family="IPv4"}', 1)
    const status = await command('status')
    assert.match(status, /path of pods to Envoy, IPv4: open, tested from pod 10\.244\.1\.11 \(interface pod11\)/)
    assert.match(status, /path of pods to Envoy, IPv6: open, tested from pod fd00:244:1::11 \(interface pod11\)/)
    assert.match(await command('explain', 'default/web'), /path of pods to Envoy: open, tested from pod 10\.244\.1\.11/)
    await untilNothingIsLeft()
  })

  test('where a firewall drops at input what pods send, the kernel layer serves, everything says so, and the overlay fills once the rule is gone', async () => {
    await firewall(input, 'iifname "pod*" meta nfproto ipv4 drop')
    await lab.start()
    const line = await lab.untilLogged(/LP402.*"problem"/)
    assert.match(
      line,
      /Node node1.*IPv4 connections of pods do not reach Envoy: .*a firewall drops or rejects at input/,
    )
    await lab.untilServedBy('envoy', client, url6)
    assert.equal(await lab.ask(client, url), 'web-1 by kernel')
    assert.deepEqual(await lab.overlay(), ['fd00:96:8::1 . 80'])
    await lab.untilMetric('lightpath_path_open{family="IPv4"}', 0)
    await lab.untilMetric('lightpath_problems{code="LP402"}', 1)
    assert.match(await command('status'), /wait for Envoy: 1, since IPv4 connections of pods do not reach Envoy/)
    assert.match(
      await command('explain', 'default/web'),
      /path of pods to Envoy: blocked, so the kernel layer serves: /,
    )
    await untilNothingIsLeft()
    await lab.nft('delete', 'table', 'inet', 'lab-firewall')
    await lab.untilServedBy('envoy', client, url)
    await lab.untilLogged(/LP402.*"problem is over"/)
  })

  test('a firewall that rejects, one before the prerouting hook and one at output are told apart', async () => {
    for (const [hook, rule, reason] of [
      [input, 'iifname "pod*" reject', /drops or rejects at input/],
      ['type filter hook prerouting priority raw', 'iifname "pod*" drop', /packets do not come to the prerouting hook/],
      ['type filter hook output priority filter', 'ip daddr 10.244.1.0/24 drop', /its answers do not leave/],
    ] as const) {
      await firewall(hook, rule)
      await lab.start()
      assert.match(await lab.untilLogged(/LP402.*IPv4.*"problem"/), reason)
      assert.deepEqual(
        (await lab.overlay()).filter(entry => entry.startsWith('10.')),
        [],
      )
      await lab.agent.down()
      await lab.nft('delete', 'table', 'inet', 'lab-firewall')
      lab.forgetLog()
    }
  })

  const legacy = (verb: '-I' | '-D', ...rule: readonly string[]) => lab.on('iptables-legacy', [verb, ...rule])
  const fromPods = ['INPUT', '-i', 'pod+', '-p', 'tcp', '-j', 'DROP']
  const toPods = ['OUTPUT', '-d', '10.244.1.0/24', '-j', 'DROP']
  const raw = 'type filter hook prerouting priority raw'
  const endNftables = () => lab.nft('delete', 'table', 'inet', 'lab-firewall')

  // Of rules of iptables-legacy nf_tables does not tell: what the ruleset counts does.
  for (const [where, begin, end] of [
    ['at input', () => legacy('-I', ...fromPods), () => legacy('-D', ...fromPods)],
    ['what Envoy answers', () => legacy('-I', ...toPods), () => legacy('-D', ...toPods)],
    ['before the prerouting hook', () => firewall(raw, 'iifname "pod*" meta nfproto ipv4 drop'), endNftables],
  ] as const) {
    test(`a firewall that begins to drop ${where} while the node runs takes few connections: the kernel layer serves the next`, async t => {
      await lab.start()
      await lab.untilServedBy('envoy', client, url)
      await lab.until('a tested path', async () => (await lab.metric('lightpath_path_open{family="IPv4"}')) === 1)
      const load = await lab.load(client, { url, rate: 50, connections: 200, fresh: true, timeoutMs: 5000 })
      await pause(500)
      const began = Date.now()
      await begin()
      await lab.untilLogged(/LP402.*IPv4.*"problem"/)
      t.diagnostic(`said after ${Date.now() - began} ms`)
      await lab.until('an empty overlay', async () => !(await lab.overlay()).some(entry => entry.startsWith('10.')))
      // Where all of a pod's packets are lost, no layer serves.
      if (end !== endNftables) await lab.untilServedBy('kernel', client, url)
      await end()
      const { requests, errors } = await load.stop()
      t.diagnostic(`${JSON.stringify(errors)} of ${requests} requests failed`)
      await lab.untilServedBy('envoy', client, url)
    })
  }

  test('what the test of an agent that was killed left behind is removed by the next, and by cleanup', async () => {
    const remains = async () => {
      const { stderr } = await lab.on('sh', [
        '-c',
        'ip link add lightpath0 type veth peer name lightpath1 && nft add table ip lightpath-path',
      ])
      assert.equal(stderr, '')
    }
    await remains()
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await untilNothingIsLeft()
    await lab.agent.down()
    await remains()
    assert.match((await lab.lightpath('cleanup')).stdout, /what a test of the path to Envoy left behind/)
    assert.equal(await leftovers(), '')
  })
})
