/** The setting external: what comes from outside goes through Envoy, and through the kernel where that is not there. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { type AgentLab, skip } from '../lab.ts'
import {
  answers,
  buildExternalLab,
  keptLoad,
  outsider,
  outsider6,
  seen,
  startWithServices,
  stranger,
  web,
  write,
} from './lab.ts'

let lab: AgentLab
let near: RunningPod
let far: RunningPod
let client: RunningPod
let outside: { readonly netns: string }
let urls: readonly string[]

describe('an http port with the setting external', { skip }, () => {
  before(async () => {
    ;({ lab, near, far, client, outside } = await buildExternalLab('forwarded-for'))
    await startWithServices(lab, [near, far])
    const { address, address6 } = lab.node
    const nodePorts = [`http://${address}:30080/`, `http://[${address6}]:30080/`]
    urls = [...nodePorts, 'http://192.0.2.7/', 'http://192.0.2.8/', 'http://[2001:db8::7]/']
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
  })
  after(() => lab?.destroy())

  test('is balanced by Envoy over all endpoints for outsiders, pods and the node itself', async () => {
    const both = ['far by envoy', 'near by envoy']
    for (const url of urls) assert.deepEqual(await answers(lab, outside, url), both)
    for (const url of urls) assert.deepEqual(await answers(lab, client, url), both)
    for (const url of urls.slice(0, 2)) assert.deepEqual(await answers(lab, lab.node, url), both)
  })

  test("tells endpoints the outsider's address in X-Forwarded-For, and shows them the node's", async () => {
    const nodes = [lab.node.address, lab.node.address6]
    for (const url of urls) {
      const { peer, forwardedFor } = await seen(outside, url)
      assert.equal(forwardedFor, url.includes('[') ? outsider6 : outsider)
      assert.ok(peer && [...nodes, '10.244.1.', 'fd00:244:1:'].some(start => peer.startsWith(start)), `${peer}`)
      const chain = await seen(outside, url, '--header', 'X-Forwarded-For: 203.0.113.5')
      assert.equal(chain.forwardedFor, `203.0.113.5,${url.includes('[') ? outsider6 : outsider}`)
    }
  })

  test('lets in by load-balancer IPs only whom its source ranges name', async () => {
    const as = (url: string) => lab.ask(outside, url, '--interface', stranger, '--max-time', '2')
    assert.equal(await as('http://192.0.2.7/'), 'curl 28')
    assert.match(await as('http://192.0.2.8/'), / by envoy$/)
    assert.match(await as(`http://${lab.node.address}:30080/`), / by envoy$/)
  })

  test('has its node port open on the addresses of node ports alone', async () => {
    await lab.on('ip', ['address', 'add', '172.30.0.99/24', 'dev', 'eth0'])
    assert.equal(await lab.ask(outside, 'http://172.30.0.99:30080/'), 'curl 7')
    assert.equal(await lab.ask(lab.node, 'http://127.0.0.1:30080/'), 'curl 7')
  })

  test('leaves connections by one way alone when another way comes or goes', async () => {
    const load = await keptLoad(lab, { ...client, netns: outside.netns }, urls[0]!)
    write(lab, { ...web, loadBalancerIPs: ['192.0.2.7', '192.0.2.17', '2001:db8::7'] }, [near, far])
    await lab.untilServedBy('envoy', outside, 'http://192.0.2.17/')
    write(lab, web, [near, far])
    await lab.until('the place gone', async () => /^curl/.test(await lab.ask(outside, 'http://192.0.2.17/')))
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
  })

  test('stays in the kernel layer with policy Local where endpoints would not see the client, and its owner is told', async () => {
    const { address } = lab.node
    for (const url of [`http://${address}:30081/`, 'http://192.0.2.9/', 'http://[2001:db8::9]/']) {
      assert.deepEqual(await answers(lab, outside, url), ['near by kernel'])
      assert.equal((await seen(outside, url)).peer, url.includes('[') ? outsider6 : outsider)
    }
    assert.deepEqual(await lab.problems('default/local'), [
      "LP204 annotation config.lightpath.cloud/http-external: externalTrafficPolicy is Local, and Envoy of this node does not keep the client's address (--client-address forwarded-for)",
    ])
  })

  test('is explained', async () => {
    const { stdout } = await lab.lightpath('explain', 'default/web', '--socket', lab.socket)
    assert.match(stdout, /^ {2}layer of what comes from outside: Envoy, as http \(setting external: true\)$/m)
    assert.match(
      stdout,
      /^ {2}external traffic policy Cluster: all 2 endpoints, which see the node's address, and the client's in X-Forwarded-For$/m,
    )
    assert.match(stdout, /^ {2}listener +0\.0\.0\.0:30080 +\S+ +acknowledged$/m)
    const rows = await lab.lightpath('services', '--socket', lab.socket)
    assert.match(rows.stdout, /^default +web +http:80\/TCP +10\.96\.9\.1 +Envoy \(http\) +Envoy \(http\) +2/m)
    assert.match(rows.stdout, /^default +local +http:80\/TCP +10\.96\.9\.2 +Envoy \(http\) +kernel +2 +LP204/m)
  })

  test('has its requests counted apart from those by the VIP', async () => {
    await lab.ask(outside, urls[0]!)
    const name =
      'lightpath_requests_total{namespace="default",service="web",port="http",frontend="external",code_class="2xx"}'
    await lab.until('the count', () => lab.metric(name))
  })

  test("is served by the kernel layer from an outsider's very next connection on when Envoy is killed, with no agent alive", async () => {
    await lab.agent.down('SIGKILL')
    await lab.envoy.down('SIGKILL')
    for (const url of urls) assert.match(await lab.ask(outside, url), / by kernel$/)
    await lab.start()
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
  })

  test('is demoted to the kernel layer while Envoy hangs, and when people switch the overlay off', async () => {
    lab.envoy.kill('SIGSTOP')
    for (const url of urls) await lab.untilServedBy('kernel', outside, url)
    lab.envoy.kill('SIGCONT')
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
    await lab.lightpath('overlay', 'off')
    for (const from of [outside, lab.node]) assert.match(await lab.ask(from, urls[0]!), / by kernel$/)
    await lab.lightpath('overlay', 'on')
    assert.match(await lab.ask(outside, urls[0]!), / by envoy$/)
  })

  test('keeps its places in the overlay over a restart of the agent, and gives them up with the setting', async () => {
    const load = await lab.load(
      { ...client, netns: outside.netns },
      { url: urls[2]!, connections: 2, rate: 50, fresh: true },
    )
    await lab.agent.down('SIGKILL')
    await lab.agent.up()
    await lab.untilEnvoyIsUp()
    // What is not promoted yet is not demoted, and each family is promoted by itself.
    await lab.until('acknowledgement', async () => {
      const ports = (await lab.explain('default/web'))?.envoyPorts
      return ['http/external', 'http/IPv6/external'].every(port => ports?.[`default/web/${port}`]?.up)
    })
    const { errors, layers } = await load.stop()
    const seen = `${JSON.stringify(layers)}
${lab.agentLog().slice(-20_000)}`
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']], seen)
    const kept = await keptLoad(lab, { ...client, netns: outside.netns }, urls[0]!)
    write(lab, { ...web, settings: {} }, [near, far])
    for (const url of urls) await lab.untilServedBy('kernel', outside, url)
    await lab.untilLogged(/Ports http\/external, http\/IPv6\/external demoted .*: the setting external is not true/)
    const report = await kept.stop()
    assert.deepEqual([report.errors, Object.keys(report.layers)], [{}, ['envoy']])
  })
})
