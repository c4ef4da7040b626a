/**
 * Rows of the chaos table that no other test has: something goes wrong under steady load, and no request fails. The table
 * (bench/chaos/faults.ts) names the test of each row.
 */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import { curl } from '../../../src/lab/clients.ts'
import { canFakeClock, FakeClock } from '../../../src/lab/faults/clock.ts'
import { fillConntrack, freeConntrack } from '../../../src/lab/faults/conntrack.ts'
import { canLimitMemory } from '../../../src/lab/faults/memory.ts'
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
    const kept = await lab.load(client, { url, connections: 20, rate: 300 })
    const fresh = await lab.load(client, { url, connections: 20, rate: 100, fresh: true })
    await pause(500)
    try {
      await harm()
      await pause(3000)
    } finally {
      await heal()
    }
    assert.deepEqual([(await kept.stop()).errors, (await fresh.stop()).errors], [{}, {}])
  }

  const nft = async (netns: string, input: string) => {
    const { code, stderr } = await runIn(netns, 'nft', ['-f', '-'], { input })
    assert.equal(code, 0, stderr)
  }

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

  test('an endpoint that answers 503 fails no GET', async () => {
    const answer = (status: number) => curl(web[0]!, ['-X', 'POST', `http://127.0.0.1:8080/fault?status=${status}`])
    await failsNothing(
      () => answer(503),
      () => answer(200),
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
    // What Envoy gets and sends is not forwarded. Each try to connect has half a second, in which Linux asks once.
    const rule = 'tcp flags & syn == 0 numgen random mod 100 0 drop'
    const chain = (hook: string, link: string) =>
      `chain ${hook} {\ntype filter hook ${hook} priority -400\n${link} != "lo" ${rule}\n}\n`
    await failsNothing(
      () => nft(lab.node.netns, `table inet chaos {\n${chain('input', 'iifname')}${chain('output', 'oifname')}}\n`),
      () => nft(lab.node.netns, 'delete table inet chaos\n'),
    )
  })

  test('a conntrack table that is full fails no request on connections that are there', async () => {
    const kept = await lab.load(client, { url, connections: 20, rate: 300, timeoutMs: 5000 })
    await pause(1000)
    try {
      assert.ok(fillConntrack(lab.node.netns) > 1000)
      assert.equal((await lab.ask(client, url, '--max-time', '2')).slice(0, 4), 'curl')
      await pause(2000)
    } finally {
      freeConntrack(lab.node.netns)
    }
    assert.deepEqual((await kept.stop()).errors, {})
    await lab.untilServedBy('envoy', client, url)
  })

  test('agent and Envoy whose log no disk takes fail no request, and take changes', async () => {
    await lab.envoy.down()
    await lab.agent.down()
    const mute = lab.agentWith({ behind: ['sh', '-c', 'exec "$0" "$@" > /dev/full 2>&1'] })
    try {
      await mute.up()
      await lab.envoy.up()
      await lab.untilServedBy('envoy', client, url)
      await failsNothing(async () => {
        lab.write('web', serviceWith(options, next))
        await lab.until('the change', async () => /^web-[5-8] by envoy$/.test(await lab.ask(client, url)))
      })
    } finally {
      await mute.down()
    }
  })

  test('an agent that ends, and one that follows it, fail no request', async () => {
    await failsNothing(async () => {
      await lab.agent.down()
      await lab.agent.up()
      await lab.untilServedBy('envoy', client, url)
    })
  })
})

const skipClock = skip || (canFakeClock ? false : 'needs libfaketime')

test('an agent whose clock is set back an hour fails no request, and changes go on', { skip: skipClock }, async t => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-clock-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const clock = new FakeClock(join(directory, 'clock'))
  const lab = await AgentLab.build({ env: clock.env })
  t.after(() => lab.destroy())
  const client = await lab.pod('client', 50)
  const [first, second] = await lab.pods(['web-1', 'web-2'], 11)
  lab.write('web', serviceWith(options, [first!]))
  await lab.start()
  await lab.untilServedBy('envoy', client, url)
  const load = await lab.load(client, { url, connections: 20, rate: 200, timeoutMs: 5000, fresh: true })
  await pause(500)
  clock.set('-1h')
  await pause(2000)
  lab.write('web', serviceWith(options, [second!]))
  await lab.until('the change', async () => (await lab.ask(client, url)) === 'web-2 by envoy')
  await lab.until("the agent's clock to be back", () => {
    const [, time = ''] = [...lab.agentLog().matchAll(/"time":"([^"]+)"/g)].at(-1)!
    return Date.now() - new Date(time).getTime() > 1800_000
  })
  await pause(2000)
  assert.deepEqual((await load.stop()).errors, {})
})

const skipMemory = skip || (canLimitMemory ? false : 'needs cgroups that limit memory')

test('an Envoy that its container gives too little memory fails what is in flight, and the kernel layer serves', {
  skip: skipMemory,
}, async t => {
  const lab = await AgentLab.build({ isEnvoyContained: true })
  t.after(() => lab.destroy())
  const memory = lab.envoyContainer!.memory!
  const client = await lab.pod('client', 50)
  lab.write('web', serviceWith(options, await lab.pods(['web-1', 'web-2'], 11)))
  await lab.start()
  await lab.untilServedBy('envoy', client, url)
  const connections = 20
  const load = await lab.load(client, { url, connections, rate: 300, timeoutMs: 5000 })
  await pause(500)
  const pid = lab.envoy.pid
  await memory.limit(Math.round(memory.usage / 2))
  await lab.untilServedBy('kernel', client, url)
  assert.notEqual(lab.envoy.pid, pid)
  // What is started in its place ends as well.
  await pause(2000)
  assert.match(await lab.ask(client, url), / by kernel$/)
  const { errors } = await load.stop()
  const failed = Object.values(errors).reduce((sum, count) => sum + count, 0)
  assert.ok(failed <= connections, JSON.stringify(errors))
  await memory.limit(undefined)
  await lab.untilServedBy('envoy', client, url)
})
