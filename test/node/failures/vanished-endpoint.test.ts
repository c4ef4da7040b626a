/** An endpoint whose packets are dropped says nothing: no refusal, no end. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const url = 'http://10.96.1.1/'
/** So that it is tried again and again while it is gone. */
const settings = { 'outlier-detection-base-ejection-time': '1s', 'outlier-detection-interval': '1s' }

describe('an endpoint that vanishes without a word', { skip }, () => {
  let lab: AgentLab
  let pods: readonly Pod[]
  let client: Pod

  before(async () => {
    lab = await AgentLab.build()
    pods = await lab.pods(['web-1', 'web-2', 'web-3'], 11)
    client = await lab.pod('client', 50)
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.1.1'], settings }, pods))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  after(() => lab?.destroy())

  const drops = (pod: Pod, on: boolean) =>
    runIn(pod.netns, 'nft', ['-f', '-'], {
      input: on
        ? 'table inet vanish { chain in { type filter hook input priority 0; policy drop; }; chain out { type filter hook output priority 0; policy drop; }; }'
        : 'delete table inet vanish',
    })

  const untilFound = () =>
    lab.until('an answer of web-1', async () => (await lab.ask(client, url)) === 'web-1 by envoy')

  test('fails no GET; what comes later goes elsewhere, whatever its method', async () => {
    const load = (method: string) => lab.load(client, { url, connections: 10, rate: 200, method })
    const before = await load('GET')
    await sleep(1000)
    await drops(pods[0]!, true)
    await sleep(5000)
    assert.deepEqual((await before.stop()).errors, {})
    for (const method of ['GET', 'POST']) {
      const later = await load(method)
      await sleep(2500)
      assert.deepEqual((await later.stop()).errors, {})
    }
  })

  test('is found again when it is back', async () => {
    await drops(pods[0]!, false)
    await untilFound()
  })

  /** How many requests to the pod have been acknowledged, and wait for nothing but its answer. */
  const waiting = async (pod: Pod) => {
    const { stdout } = await runIn(pod.netns, 'ss', ['-Htn', 'state', 'established', 'sport', '= :8080'])
    return stdout.split('\n').filter(Boolean).length
  }
  const times = (count: number, ...args: readonly string[]) =>
    Promise.all(
      Array.from({ length: count }, () =>
        lab.ask(client, ...[`${url}${args[0]}`, '--max-time', '60', ...args.slice(1)]),
      ),
    )
  const whileGone = async (body: () => Promise<void>) => {
    await sleep(1000)
    assert.ok((await waiting(pods[0]!)) > 0)
    await drops(pods[0]!, true)
    await body()
    await drops(pods[0]!, false)
    await untilFound()
  }

  test('answers nothing that it has acknowledged: a GET is repeated elsewhere, others end with an error', async () => {
    const gets = times(12, 'delay?ms=2000')
    const posts = times(12, 'delay?ms=2000', '--request', 'POST', '--fail')
    await whileGone(async () => {
      assert.deepEqual([...new Set(await gets)].sort(), ['web-2 by envoy', 'web-3 by envoy'])
      assert.deepEqual([...new Set(await posts)].sort(), ['curl 22', 'web-2 by envoy', 'web-3 by envoy'])
    })
  })

  test('ends answers that it has begun, and others go on', async () => {
    const answers = times(12, 'data?size=40000000', '--limit-rate', '5M')
    await whileGone(async () => {
      const ended = await answers
      const [cut, whole] = [
        ['curl 18', 'curl 56'],
        ['web-1 by envoy', 'web-2 by envoy', 'web-3 by envoy'],
      ]
      assert.ok(
        ended.some(answer => cut.includes(answer)),
        ended.join(),
      )
      assert.deepEqual(
        ended.filter(answer => ![...cut, ...whole].includes(answer)),
        [],
      )
    })
  })
})
