/** The setting external on a node that keeps clients' addresses. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { type AgentLab, skip } from '../lab.ts'
import {
  answers,
  buildExternalLab,
  keptLoad,
  local,
  outsider,
  outsider6,
  seen,
  startWithServices,
  write,
} from './lab.ts'

let lab: AgentLab
let near: RunningPod
let far: RunningPod
let client: RunningPod
let outside: { readonly netns: string }
let urls: readonly string[]

describe("an http port with the setting external on a node that keeps clients' addresses", { skip }, () => {
  before(async () => {
    ;({ lab, near, far, client, outside } = await buildExternalLab('preserve'))
    await startWithServices(lab, [near, far])
    const { address, address6 } = lab.node
    urls = [`http://${address}:30081/`, `http://[${address6}]:30081/`, 'http://192.0.2.9/', 'http://[2001:db8::9]/']
    const ofCluster = ['http://192.0.2.7/', 'http://[2001:db8::7]/']
    for (const url of [...urls, ...ofCluster]) await lab.untilServedBy('envoy', outside, url)
  })
  after(() => lab?.destroy())

  test('and policy Local leads outsiders through Envoy to the endpoints here, which see their address', async () => {
    for (const url of urls) {
      assert.deepEqual(await answers(lab, outside, url), ['near by envoy'])
      const address = url.includes('[') ? outsider6 : outsider
      assert.deepEqual(await seen(outside, url), { pod: 'near', peer: address, forwardedFor: undefined })
    }
  })

  test('and policy Local leads pods and the node to every endpoint, by the kernel', async () => {
    for (const url of urls) assert.deepEqual(await answers(lab, client, url), ['far by kernel', 'near by kernel'])
    for (const url of urls.slice(0, 2)) {
      assert.deepEqual(await answers(lab, lab.node, url), ['far by kernel', 'near by kernel'])
    }
  })

  test("and policy Cluster shows endpoints the node's address, on whichever node they are", async () => {
    for (const url of ['http://192.0.2.7/', 'http://[2001:db8::7]/', `http://${lab.node.address}:30080/`]) {
      assert.deepEqual(await answers(lab, outside, url), ['far by envoy', 'near by envoy'])
      assert.deepEqual(await answers(lab, client, url), ['far by envoy', 'near by envoy'])
      const { peer, forwardedFor } = await seen(outside, url)
      const address = url.includes('[') ? outsider6 : outsider
      assert.equal(forwardedFor, address)
      assert.notEqual(peer, address)
    }
  })

  test('and policy Local drops what outsiders send where no endpoint is, and is promoted again with the first', async () => {
    const load = await keptLoad(lab, { ...client, netns: outside.netns }, urls[0]!)
    write(lab, local, [far])
    for (const url of urls) {
      await lab.until(`drops of ${url}`, async () => (await lab.ask(outside, url, '--max-time', '2')) === 'curl 28')
    }
    write(lab, local, [near, far])
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
    await load.stop()
  })

  test('and policy Local keeps the address through the kernel, too, when Envoy is killed', async () => {
    await lab.envoy.down('SIGKILL')
    for (const url of urls) {
      assert.equal(await lab.ask(outside, url), 'near by kernel')
      assert.equal((await seen(outside, url)).peer, url.includes('[') ? outsider6 : outsider)
    }
    await lab.start()
    for (const url of urls) await lab.untilServedBy('envoy', outside, url)
  })

  test('still answers outsiders on its VIP by the kernel, and pods by Envoy with their address', async () => {
    for (const [url, address] of [
      ['http://10.96.9.1/', client.ip],
      ['http://[fd00:96:9::1]/', client.ip6],
    ] as const) {
      await lab.untilServedBy('envoy', client, url)
      assert.equal((await seen(client, url)).peer, address)
    }
  })

  test('is explained', async () => {
    const { stdout } = await lab.lightpath('explain', 'default/local', '--socket', lab.socket)
    assert.match(stdout, /^ {2}layer of what comes from outside: Envoy, as http \(setting external: true\)$/m)
    assert.match(
      stdout,
      /^ {2}external traffic policy Local: 1 of 2 endpoints, those here, which see the client's address$/m,
    )
  })
})
