import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { serviceWith } from '../manifests.ts'
import { untilOpenInEnvoy } from './connections.ts'
import { AgentLab, skip } from './lab.ts'

describe('the overlay by hand', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let far: RunningPod
  const url = 'http://10.96.4.1/'

  before(async () => {
    lab = await AgentLab.build({ nodes: 2 })
    const pods = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = pods[0]!
    far = await lab.pod('far', 10, 2)
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.4.1', 'fd00:96:4::1'] }, pods.slice(1)))
  })

  after(() => lab?.destroy())

  test('without a table there is nothing to switch, and the command says so', async () => {
    for (const what of ['on', 'off', 'show']) {
      const { code, stderr } = await lab.lightpath('overlay', what)
      assert.equal(code, 1)
      assert.match(stderr, /^lightpath overlay: this node has no table lightpath: no agent has run here yet\n$/)
    }
  })

  test('off takes the node to the kernel layer at once and cuts nothing, and on brings it back', async () => {
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    assert.match((await lab.lightpath('overlay', 'show')).stdout, /^overlay is on: /)
    const kept = await lab.load(client, { url, connections: 4, rate: 50 })
    await untilOpenInEnvoy(lab, '10.96.4.1', 4)
    const fresh = await lab.load(client, { url, connections: 8, rate: 100, fresh: true })
    assert.match((await lab.lightpath('overlay', 'off')).stdout, /^overlay is off: /)
    assert.match(await lab.ask(client, url), / by kernel$/)
    assert.match(await lab.ask(client, 'http://[fd00:96:4::1]/'), / by kernel$/)
    assert.match((await lab.lightpath('overlay', 'show')).stdout, /^overlay is off: /)
    assert.equal((await lab.lightpath('overlay', 'on')).code, 0)
    assert.match(await lab.ask(client, url), / by envoy$/)
    const [keptReport, freshReport] = [await kept.stop(), await fresh.stop()]
    assert.deepEqual([keptReport.errors, freshReport.errors], [{}, {}])
    assert.deepEqual(
      [Object.keys(keptReport.layers), Object.keys(freshReport.layers)],
      [['envoy'], ['envoy', 'kernel']],
    )
  })

  test('off stays off through changes, restarts of the agent and of Envoy, until somebody says on', async () => {
    await lab.lightpath('overlay', 'off')
    lab.write('more', serviceWith({ name: 'more', vips: ['10.96.4.2'] }, [client]))
    await lab.until('the new Service up', async () => (await lab.overlay()).includes('10.96.4.2 . 80'))
    for (const address of [url, 'http://10.96.4.2/']) assert.match(await lab.ask(client, address), / by kernel$/)
    await lab.agent.down()
    await lab.envoy.down()
    await lab.start()
    await lab.until('the overlay', async () => (await lab.overlay()).length === 3)
    assert.match((await lab.lightpath('overlay', 'show')).stdout, /^overlay is off: /)
    assert.match(await lab.ask(client, url), / by kernel$/)
    await lab.lightpath('overlay', 'on')
    assert.match(await lab.ask(client, url), / by envoy$/)
    lab.remove('more')
  })

  test('off is told by everything that tells of layers, and on ends that', async () => {
    const told = async (...args: readonly string[]) => (await lab.lightpath(...args, '--socket', lab.socket)).stdout
    await lab.untilServedBy('envoy', client, url)
    lab.forgetLog()
    await lab.lightpath('overlay', 'off')
    await lab.untilLogged(/LP408.*the overlay off.*"problem"/)
    await lab.untilMetric('lightpath_overlay_off', 1)
    await lab.untilMetric('lightpath_problems{code="LP408"}', 1)
    const status = await told('status')
    assert.match(status, /^ {2}overlay: switched off by `lightpath overlay off`; the kernel layer serves/m)
    assert.match(status, /^ {2}ports in Envoy: 0$/m)
    assert.match(status, /wait for Envoy: \d+, since the overlay of this node is switched off \(LP408\)/)
    assert.match(
      await told('services'),
      /^default +web .* kernel, waits for Envoy .* the overlay of this node is switched off \(LP408\)$/m,
    )
    assert.match(await told('explain', 'default/web'), /layer: kernel, since the overlay of this node is switched off/)
    await lab.lightpath('overlay', 'on')
    await lab.untilLogged(/LP408.*"problem is over"/)
    await lab.untilMetric('lightpath_overlay_off', 0)
    assert.doesNotMatch(await told('status'), /overlay/)
    assert.match(await told('explain', 'default/web'), /layer: Envoy, as http/)
  })

  test('off and on work with the agent dead', async () => {
    await lab.agent.down('SIGKILL')
    assert.match((await lab.lightpath('overlay', 'off')).stdout, /^overlay is off: /)
    assert.match(await lab.ask(client, url), / by kernel$/)
    assert.match((await lab.lightpath('overlay', 'on')).stdout, /^overlay is on: /)
    assert.match(await lab.ask(client, url), / by envoy$/)
    await lab.start()
  })

  test("Envoy's port refuses everything that was not redirected there, from pods, other nodes and the node itself", async () => {
    const [node1, node2] = lab.network.nodes
    await lab.untilServedBy('envoy', client, url)
    const addresses = [node1!.address, `[${node1!.address6}]`]
    for (const from of [client, far, node2!, node1!, { netns: lab.network.fabric }]) {
      for (const address of addresses) assert.equal(await lab.ask(from, `http://${address}:1666/`), 'curl 7')
    }
    for (const address of ['127.0.0.1', '[::1]'])
      assert.equal(await lab.ask(node1!, `http://${address}:1666/`), 'curl 7')
    // Connections through the node to that port of somebody else are none of ours.
    assert.equal(await lab.ask(client, `http://${far.ip}:1666/`), 'curl 7')
    assert.match(await lab.ask(client, `http://${far.ip}:8080/`), /^far by kernel$/)
  })

  test('cleanup --after-envoy takes new connections off an Envoy without an agent, and cleans when that has ended', async () => {
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.agent.down('SIGKILL')
    const cleaned = lab.lightpath('cleanup', '--after-envoy')
    await lab.untilServedBy('kernel', client, url)
    assert.match(await lab.nft('list', 'tables'), /lightpath/)
    await lab.envoy.down()
    assert.equal((await cleaned).code, 0)
    assert.equal(await lab.nft('list', 'tables'), '')
    await lab.start()
  })

  test('cleanup removes every table, rule and route, also with the agent dead, and says what', async () => {
    await lab.agent.down()
    await lab.envoy.down()
    const { code, stdout } = await lab.lightpath('cleanup')
    assert.equal(code, 0)
    assert.match(stdout, /removed nftables table ip lightpath\n(.*\n)*removed nftables table ip6 lightpath\n/)
    assert.equal(await lab.nft('list', 'tables'), '')
    for (const family of ['-4', '-6']) {
      const rules = (await lab.on('ip', [family, 'rule'])).stdout
      assert.doesNotMatch(rules, /fwmark|1666/)
      assert.equal((await lab.on('ip', [family, 'route', 'show', 'table', '1666'])).stdout, '')
    }
    assert.equal((await lab.lightpath('cleanup')).stdout, 'there was nothing to remove\n')
    // And from nothing all comes back.
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })
})
