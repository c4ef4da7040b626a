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
    await lab.until('an answer of web-1', async () => (await lab.ask(client, url)) === 'web-1 by envoy')
  })
})
