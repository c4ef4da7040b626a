/** The whole agent with `--proxy-mode iptables`. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { serviceWith } from '../manifests.ts'
import { AgentLab, skip as needsRoot } from './lab.ts'

const skip = needsRoot || (!existsSync('/usr/sbin/ipset') && 'needs ipset (Debian: ipset)')

describe('with iptables in place of nftables', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const url = 'http://10.96.7.1/'
  const url6 = 'http://[fd00:96:7::1]/'

  before(async () => {
    lab = await AgentLab.build({ flags: ['--proxy-mode', 'iptables'] })
    const pods = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = pods[0]!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.7.1', 'fd00:96:7::1'] }, pods.slice(1)))
    await lab.start()
  })
  after(() => lab?.destroy())

  const overlay = (what: string) => lab.lightpath('overlay', what, '--proxy-mode', 'iptables')

  test('an http Service goes through Envoy, from pods and the node itself, in both families', async () => {
    for (const from of [client, lab.node]) {
      for (const address of [url, url6]) await lab.untilServedBy('envoy', from, address)
    }
    const { stdout } = await lab.on('nft', ['list', 'tables'])
    assert.doesNotMatch(stdout, /lightpath/)
  })

  test('explain shows the rules and sets of a Service', async () => {
    const { kernelPorts } = (await lab.explain('default/web'))!
    const elements = Object.values(kernelPorts)
      .flatMap(({ elements }) => elements)
      .join('\n')
    assert.match(elements, /^LIGHTPATH-SERVICES -d 10\.96\.7\.1\/32 -p tcp -m tcp --dport 80 -j LP-\w{16}$/m)
    assert.match(elements, /^lightpath-envoy6 fd00:96:7::1,tcp:80$/m)
  })

  test('what comes from outside is said not to be served', async () => {
    const ports = [{ name: 'http', port: 80, targetPort: 8080, nodePort: 32091 }]
    lab.write('outside', serviceWith({ name: 'outside', vips: ['10.96.7.9'], spec: { type: 'NodePort' }, ports }, []))
    await lab.until('the Service', () => lab.explain('default/outside'))
    const { stdout: rows } = await lab.lightpath('services', '--socket', lab.socket)
    assert.match(rows, /^default +outside .* kernel +not served +0/m)
    const { stdout } = await lab.lightpath('explain', 'default/outside', '--socket', lab.socket)
    assert.match(stdout, /layer of what comes from outside: not served: iptables has cluster IPs only/)
  })

  test('where not all ports fit into Envoy those are there that the node has called most recently', async () => {
    await lab.agent.down()
    // As if the last call of the one were an hour ago, and there were none of the other.
    await lab.on('ipset', ['-exist', 'add', 'lightpath-called4', '10.96.7.1,tcp:80', 'timeout', '82800'])
    await lab.on('ipset', ['flush', 'lightpath-called6'])
    const agent = lab.agentWith({ flags: ['--envoy-ports', '1'] })
    await agent.up()
    try {
      const untilLeft = (set: string) =>
        lab.until(`${set} to be empty`, async () => !/^add/m.test((await lab.on('ipset', ['save', set])).stdout))
      await untilLeft('lightpath-envoy6')
      await lab.untilServedBy('envoy', client, url6)
      await untilLeft('lightpath-envoy4')
      assert.match(await lab.ask(client, url), /by kernel/)
      const { stdout } = await lab.lightpath('explain', 'default/web', '--socket', lab.socket)
      assert.match(stdout, /waits for Envoy as http: not called on this node of late/)
    } finally {
      await agent.down()
      await lab.agent.up()
    }
    for (const address of [url, url6]) await lab.untilServedBy('envoy', client, address)
  })

  test('when Envoy dies the kernel layer serves, and when it is back Envoy does', async () => {
    await lab.envoy.down('SIGKILL')
    for (const address of [url, url6]) await lab.untilServedBy('kernel', client, address)
    await lab.envoy.up()
    for (const address of [url, url6]) await lab.untilServedBy('envoy', client, address)
  })

  test('a restart of the agent loses no request, neither through Envoy nor beside it', async () => {
    const load = await lab.load(client, { url, connections: 4, rate: 50, fresh: true })
    await lab.agent.down('SIGKILL')
    await lab.agent.up()
    await lab.until('the agent', async () => (await lab.explain('default/web')) !== undefined)
    await lab.untilServedBy('envoy', client, url)
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
  })

  test('the overlay goes off and on with the agent dead', async () => {
    await lab.agent.down('SIGKILL')
    assert.match((await overlay('off')).stdout, /^overlay is off: /)
    for (const from of [client, lab.node]) assert.match(await lab.ask(from, url), / by kernel$/)
    assert.match((await overlay('show')).stdout, /^overlay is off: /)
    assert.match((await overlay('on')).stdout, /^overlay is on: /)
    for (const from of [client, lab.node]) assert.match(await lab.ask(from, url), / by envoy$/)
    await lab.agent.up()
  })

  test("Envoy's port refuses what was not redirected there", async () => {
    await lab.untilServedBy('envoy', client, url)
    for (const from of [client, lab.node]) {
      assert.equal(await lab.ask(from, `http://${lab.node.address}:1666/`), 'curl 7')
      assert.equal(await lab.ask(from, `http://[${lab.node.address6}]:1666/`), 'curl 7')
    }
  })

  test('a process that takes the port of a dead Envoy gets no connection, with the agent dead, too', async () => {
    await lab.agent.down('SIGKILL')
    await lab.envoy.down('SIGKILL')
    const answers =
      "require('http').createServer((_, answer) => answer.end('impostor')).listen(1666, () => console.log())"
    const { processes } = lab.network
    const impostor = await processes.spawnIn(lab.node.netns, process.execPath, ['-e', answers], { pipeStdout: true })
    await once(impostor.stdout!, 'data')
    for (const address of [url, url6]) assert.equal(await lab.ask(lab.node, address), 'curl 7')
    await impostor.stop()
    await lab.start()
    for (const address of [url, url6]) await lab.untilServedBy('envoy', lab.node, address)
  })

  test('an agent with another --proxy-mode takes over from one that was killed: nothing is lost, and nothing is left', async () => {
    await lab.untilServedBy('envoy', client, url)
    const load = await lab.load(client, { url, connections: 4, rate: 50, fresh: true })
    await lab.agent.down('SIGKILL')
    await overlay('off')
    const other = lab.agentWith({ flags: ['--proxy-mode', 'nftables'] })
    await other.up()
    await lab.untilLogged(/"removed":\["iptables chains.*another --proxy-mode left was removed/)
    assert.doesNotMatch((await lab.on('iptables-save', [])).stdout, /LIGHTPATH/)
    assert.equal((await lab.on('ipset', ['list', '-name'])).stdout, '')
    assert.match((await lab.lightpath('overlay', 'show')).stdout, /^overlay is off: /)
    assert.match(await lab.ask(client, url), / by kernel$/)
    await lab.lightpath('overlay', 'on')
    await lab.untilServedBy('envoy', client, url)
    await lab.lightpath('overlay', 'off')
    for (let n = 0; n < 16; n++) assert.match(await lab.ask(client, url), / by kernel$/)
    await lab.lightpath('overlay', 'on')
    await other.down('SIGKILL')
    const preflight = await lab.lightpath('preflight', '--proxy-mode', 'iptables', '--socket', lab.socket)
    assert.match(preflight.stdout, /rules by another --proxy-mode .*nftables table ip lightpath/)
    await lab.on('iptables', ['-t', 'nat', '-N', 'LIGHTPATH-PRE'])
    const ofOther = await lab.lightpath('preflight', '--socket', lab.socket)
    assert.match(ofOther.stdout, /rules by another --proxy-mode .*iptables chains LIGHTPATH/)
    const args = ['--against', 'lightpath', '--source', lab.manifests, '--node-name', 'node1']
    const verified = await lab.lightpath('verify', ...args)
    assert.match(verified.stdout, /iptables chains LIGHTPATH.*lightpath cleanup/, verified.stderr)
    await lab.agent.up()
    await lab.untilLogged(/"removed":\["nftables table ip lightpath.*another --proxy-mode left was removed/)
    assert.doesNotMatch((await lab.on('nft', ['list', 'tables'])).stdout, /lightpath/)
    await lab.untilServedBy('envoy', client, url)
    assert.deepEqual((await load.stop()).errors, {})
  })

  test('cleanup removes every chain, set, rule and route', async () => {
    await lab.agent.down()
    await lab.envoy.down()
    const { code, stdout } = await lab.lightpath('cleanup')
    assert.equal(code, 0)
    assert.match(stdout, /removed iptables chains .*\nremoved iptables chains .*\nremoved ipsets /)
    for (const command of ['iptables-save', 'ip6tables-save', 'ipset save', 'ip rule', 'ip -6 rule']) {
      const [program, ...args] = command.split(' ') as [string, ...string[]]
      assert.doesNotMatch((await lab.on(program, args)).stdout, /lightpath|LP-|1666/i)
    }
  })
})
