/**
 * Rows of the chaos table (bench/chaos/faults.ts) that no other test has: something goes wrong under steady load, and no
 * request fails. The others: agent/processes/crash (agent and Envoy killed, Envoy hung), upgrade (Envoy), vanished-endpoint
 * (black-holed), envoy/retries (endpoint killed), envoy/ejections (endpoint that fails), kernel/drift (ruleset, routing rule),
 * envoy/bounds (Envoy short of memory), and in the cluster tier kubernetes (API server stopped).
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { curl } from '../../../src/lab/clients.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { pause } from '../../../src/lab/wait.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const url = 'http://10.96.1.1/'
const options = { name: 'web', vips: ['10.96.1.1'] }

describe('under 400 requests/s', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let web: readonly RunningPod[]
  let next: readonly RunningPod[]

  before(async () => {
    lab = await AgentLab.build({ nodes: 2 })
    client = await lab.pod('client', 50)
    web = [...(await lab.pods(['web-1', 'web-2', 'web-3'], 11)), await lab.pod('web-4', 11, 2)]
    next = await lab.pods(['web-5', 'web-6', 'web-7', 'web-8'], 21)
    await lab.start()
  })

  after(() => lab?.destroy())

  beforeEach(async () => {
    lab.write('web', serviceWith(options, web))
    // A new Envoy has ejected nobody.
    await lab.envoy.down()
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  /** Runs this beside requests on kept connections and on new ones; nothing of them may fail. */
  async function failsNothing(
    harm: () => Promise<unknown>,
    heal: () => Promise<unknown> = async () => {},
  ): Promise<void> {
    const kept = await lab.load(client, { url, connections: 20, rate: 300, timeoutMs: 5000 })
    const fresh = await lab.load(client, { url, connections: 20, rate: 100, timeoutMs: 5000, fresh: true })
    await pause(500)
    try {
      await harm()
      await pause(3000)
    } finally {
      await heal()
    }
    assert.deepEqual([(await kept.stop()).errors, (await fresh.stop()).errors], [{}, {}])
  }

  const nft = (netns: string, input: string) => runIn(netns, 'nft', ['-f', '-'], { input })

  test('a rolling update fails no request', async () => {
    const ready = [...web]
    await failsNothing(async () => {
      for (const [index, old] of web.entries()) {
        ready[index] = next[index]!
        lab.write('web', serviceWith(options, [...ready, { ...old, state: 'draining' }]))
        await pause(300)
        lab.write('web', serviceWith(options, ready))
      }
    })
  })

  test('an endpoint that becomes a hundred times slower fails no request', async () => {
    const slowDown = (ms: number) => curl(web[0]!, ['-X', 'POST', `http://127.0.0.1:8080/fault?delay=${ms}`])
    await failsNothing(
      () => slowDown(200),
      () => slowDown(0),
    )
  })

  test('the loss of the node of an endpoint fails no GET', async () => {
    const node = lab.network.nodes[1]!.netns
    const chains = ['input', 'output', 'forward'].map(
      hook => `chain ${hook} {\ntype filter hook ${hook} priority -400\npolicy drop\n}`,
    )
    await failsNothing(
      () => nft(node, `table inet chaos {\n${chains.join('\n')}\n}\n`),
      () => nft(node, 'delete table inet chaos\n'),
    )
  })

  test('the loss of one packet in a hundred fails no request', async () => {
    const rule = 'type filter hook forward priority -400\nnumgen random mod 100 0 drop'
    await failsNothing(
      () => nft(lab.node.netns, `table inet chaos {\nchain forward {\n${rule}\n}\n}\n`),
      () => nft(lab.node.netns, 'delete table inet chaos\n'),
    )
  })

  test('an agent that ends, and one that follows it, fail no request', async () => {
    await failsNothing(async () => {
      await lab.agent.down()
      await lab.agent.up()
      await lab.untilServedBy('envoy', client, url)
    })
  })
})
