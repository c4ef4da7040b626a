/** lb-policy PEAK_EWMA from its annotation to requests, and an Envoy without the module. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setDelay } from '../../../src/lab/clients.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const [fast, plain, strict, many] = ['10.96.0.10', '10.96.0.11', '10.96.0.12', '10.96.0.13'] as const
const ejecting = { 'outlier-detection-slowness': '5', 'outlier-detection-base-ejection-time': '1s' }

describe('a Service port that is balanced by latency', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let pods: readonly RunningPod[]

  const write = (endpoints: readonly RunningPod[]) =>
    lab.write('web', [
      ...serviceWith({ name: 'fast', vips: [fast], settings: { 'lb-policy': 'PEAK_EWMA' } }, endpoints),
      ...serviceWith({ name: 'plain', vips: [plain], settings: {} }, endpoints),
      ...serviceWith({ name: 'strict', vips: [strict], settings: ejecting }, endpoints),
    ])

  before(async () => {
    lab = await AgentLab.build({ followerEnv: { ENVOY_DYNAMIC_MODULES_SEARCH_PATH: '/nowhere' } })
    const [asking, ...web] = (await lab.pods(['client', 'web-1', 'web-2', 'web-3'], 10)) as [
      RunningPod,
      ...RunningPod[],
    ]
    client = asking
    pods = web
    write(pods)
    await lab.start()
    for (const vip of [fast, plain, strict]) await lab.untilServedBy('envoy', client, `http://${vip}/`)
  })

  after(() => lab?.destroy())

  test('an endpoint that is slow gets fewer requests than by LEAST_REQUEST', async () => {
    await setDelay(pods[0]!, 8080, 60)
    const [of, ofPlain] = await Promise.all(
      [fast, plain].map(async vip => {
        const load = await lab.load(client, { url: `http://${vip}/`, connections: 10, rate: 100, requests: 400 })
        return (await load.report).endpoints
      }),
    )
    const explained = await lab.load(client, { url: `http://${fast}/`, connections: 10, rate: 100 })
    const { stdout } = await lab.lightpath('explain', 'default/fast', '--socket', lab.socket)
    const top = await lab.lightpath('top', 'default/fast', '--once', '--interval', '0.5', '--socket', lab.socket)
    const metrics = await lab.on('curl', ['-s', 'http://127.0.0.1:9001/metrics'])
    await explained.stop()
    await setDelay(pods[0]!, 8080, 0)
    assert.match(stdout, /an endpoint is chosen by PEAK_EWMA/)
    assert.match(stdout, /ANSWERS IN +FAILING +SHARE/)
    assert.match(stdout, /10\.244\.1\.11:8080 .* [1-9]\d+ ms +0 % +\d+ %/)
    assert.match(top.stdout, /10\.244\.1\.11:8080 .* requests\/s, answers in [1-9]\d+ms$/m)
    const series = (name: string) =>
      [...metrics.stdout.matchAll(new RegExp(`^${name}{service_port="default/(\\w+)/http",(.*)} (.*)$`, 'gm'))].map(
        ([, ...words]) => words.join(' '),
      )
    assert.match(series('lightpath_latency_endpoints').join(), /^fast state="even" [12],fast state="slow" [12],/)
    assert.match(series('lightpath_endpoint_latency_seconds').join(), /fast quantile="1" 0\.(0[1-9]|[1-9])/)
    assert.match(series('lightpath_endpoint_share_ratio').join(), /fast quantile="0" 0\.\d+,fast quantile="1" [12]\.\d/)
    // At the same time, so that a busy machine is so for both.
    const [byLatency, byRequests] = [of, ofPlain].map(endpoints => endpoints!['web-1']?.requests ?? 0)
    assert.ok(byLatency! < byRequests! / 2, JSON.stringify([of, ofPlain]))
  })

  test('one that is slow is ejected by another policy where a setting says so, and comes back', async () => {
    const ejected = async () => {
      const health = (await lab.explain('default/strict'))?.health['default/strict/http'] ?? {}
      return Object.entries(health).flatMap(([endpoint, { ejected }]) => (ejected ? [endpoint] : []))
    }
    const load = await lab.load(client, { url: `http://${strict}/`, connections: 30, rate: 100 })
    // The Services share their endpoints: what was slow before answers fast again by now.
    await sleep(4000)
    await lab.until('no ejection from before', async () => (await ejected()).length === 0)
    await setDelay(pods[1]!, 8080, 250)
    let first: readonly string[] = []
    await lab.until('an ejection', async () => {
      first = await ejected()
      return first.length > 0
    })
    assert.deepEqual(first, [`${pods[1]!.ip}:8080`])
    await setDelay(pods[1]!, 8080, 0)
    await lab.until('its return', async () => (await ejected()).length === 0)
    assert.deepEqual((await load.stop()).errors, {})
  })

  test('endpoints come and go under requests, and none fails', async () => {
    const load = await lab.load(client, { url: `http://${fast}/`, connections: 10, rate: 100 })
    for (let turn = 0; turn < 12; turn++) {
      write(pods.filter((_, n) => turn % 3 !== n))
      await sleep(250)
    }
    write(pods)
    assert.deepEqual((await load.stop()).errors, {})
  })

  test('1,000 endpoints of a Service come and go under requests, and none fails', async () => {
    const pod = pods[2]!
    // All of them are this pod.
    assert.equal((await runIn(pod.netns, 'ip', ['route', 'add', 'local', '10.245.0.0/21', 'dev', 'lo'])).code, 0)
    assert.equal((await lab.on('ip', ['route', 'add', '10.245.0.0/21', 'dev', pod.hostLink])).code, 0)
    const set = (first: number) => {
      const numbers = Array.from({ length: 1000 }, (_, n) => first + n + 1)
      const endpoints = numbers.map(n => ({ ...pod, name: `many-${n}`, ip: `10.245.${n >> 8}.${n & 255}` }))
      lab.write('many', serviceWith({ name: 'many', vips: [many], settings: { 'lb-policy': 'PEAK_EWMA' } }, endpoints))
    }
    set(0)
    await lab.untilServedBy('envoy', client, `http://${many}/`)
    const load = await lab.load(client, { url: `http://${many}/`, connections: 10, rate: 100 })
    for (let turn = 1; turn <= 8; turn++) {
      set(120 * turn)
      await sleep(500)
    }
    assert.deepEqual((await load.stop()).errors, {})
    await lab.until('1,000 endpoints in the metrics', async () => {
      const { stdout } = await lab.on('curl', ['-s', 'http://127.0.0.1:9001/metrics'])
      const states = stdout.matchAll(/^lightpath_latency_endpoints\{service_port="default\/many\/http",.*\} (\d+)$/gm)
      return [...states].reduce((sum, [, count]) => sum + Number(count), 0) === 1000
    })
  })

  test('with an Envoy beside that lacks the module it is balanced by LEAST_REQUEST, which is said, until that is gone', async () => {
    const problems = async () => [
      ...(await lab.on('curl', ['-s', 'http://127.0.0.1:9000/metrics'])).stdout.matchAll(
        /^lightpath_problems\{code="LP307"\} 1$/gm,
      ),
    ]
    assert.deepEqual(await problems(), [])
    await lab.follower.up()
    await lab.until('a problem', async () => (await problems()).length > 0)
    await lab.untilLogged(/LP307.*lacks the module for PEAK_EWMA \(default\/fast\/http, default\/many\/http\)/)
    await lab.untilServedBy('envoy', client, `http://${fast}/`)
    await lab.follower.down()
    await lab.until('no problem', async () => (await problems()).length === 0)
    await lab.untilServedBy('envoy', client, `http://${fast}/`)
  })
})
