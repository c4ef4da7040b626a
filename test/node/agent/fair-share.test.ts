/**
 * Everything that one tenant can do to a node at once (src/demo/greedy), while another's Service changes and is called. That
 * this is fast is for `bench/run fair-share`; here it has to work, and what is shared has to stay within its bounds.
 */

import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setFault } from '../../../src/lab/clients.ts'
import { greedyChanges, greedyServices, modestService, modestVip } from '../../../src/lab/greedy/objects.ts'
import { startGreedyClient } from '../../../src/lab/greedy/start.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { pause } from '../../../src/lab/wait.ts'
import { AgentLab, skip } from './lab.ts'

const url = `http://${modestVip}/`
/** Envoy's is its heap and a quarter, as in deploy/proxy. */
const heapMiB = 640
const mostMiB = { agent: 400, envoy: heapMiB * 1.25 }
const mostLogged = 100_000
/** Lines of the access log: 20 at once and two a second, and some more for what is under way. */
const mostLines = (seconds: number) => 40 + 2 * seconds

describe('while one tenant takes what it can', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let greedyClient: RunningPod
  let greedy: RunningPod
  let pods: readonly RunningPod[]

  const write = (endpoint: RunningPod) => lab.write('modest', modestService([endpoint]))
  const writeAll = (files: Readonly<Record<string, readonly object[]>>) => {
    for (const [name, objects] of Object.entries(files)) lab.write(name, objects)
  }

  before(async () => {
    lab = await AgentLab.build({ flags: ['--access-log-rate', '2'], bootstrapFlags: ['--envoy-heap', String(heapMiB)] })
    const [a, b, c, ...others] = await lab.pods(['client', 'greedy-client', 'greedy', 'web-1', 'web-2'], 10)
    ;[client, greedyClient, greedy, pods] = [a!, b!, c!, others]
    await setFault(greedy, 8080, 500)
    write(pods[0]!)
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  after(() => lab?.destroy())

  test('another loses no request, each of its changes takes effect, and what they share keeps its bounds', async t => {
    const began = performance.now()
    const load = await lab.load(client, { url, connections: 4, rate: 50 })
    writeAll(greedyServices(greedy))
    const attack = await startGreedyClient(lab.network, greedyClient)
    for (let turn = 0; turn < 40; turn++) {
      writeAll(greedyChanges(turn, greedy))
      if (turn % 4 === 0) {
        const endpoint = pods[(turn / 4 + 1) % 2]!
        write(endpoint)
        await lab.until(`an answer of ${endpoint.name}`, async () =>
          (await lab.ask(client, url)).startsWith(`${endpoint.name} by`),
        )
      } else await pause(200)
    }
    for (const [service, code] of [
      ['greedy/numbers', 'LP205'],
      ['greedy/eager', 'LP202'],
      ['greedy/failing', 'LP306'],
    ] as const) {
      await lab.until(`${service} to be told`, async () =>
        (await lab.problems(service)).some(problem => problem.startsWith(code)),
      )
    }
    const { errors, requests } = await load.stop()
    await attack.stop()
    assert.deepEqual(errors, {})
    assert.ok(requests > 100)
    // 2 of its own, and 100 of a Service at most.
    assert.ok((await lab.overlay()).length < 250, `${(await lab.overlay()).length} in the overlay`)
    const told = await lab.problems('greedy/words')
    assert.ok(told.length > 0 && told.length < 20, `${told.length} problems of one object`)
    const listeners = await listenerChanges(lab)
    const used = { agent: mostResident(lab.agent.pid!), envoy: mostResident(lab.envoy.pid!) }
    const logged = statSync(join(lab.network.directory, 'node', 'envoy.log')).size
    const lines = lab.agentLog().match(/^\{"service":"greedy\/failing\/http",.*$/gm)
    const allowed = mostLines((performance.now() - began) / 1000)
    t.diagnostic(
      `agent ${used.agent} MiB, Envoy ${used.envoy} MiB, its log ${logged} bytes, ${lines?.length} lines of access log, ${listeners} changes`,
    )
    assert.ok(used.agent < mostMiB.agent, `the agent had ${used.agent} MiB`)
    assert.ok(used.envoy < mostMiB.envoy, `Envoy had ${used.envoy} MiB`)
    assert.ok(logged < mostLogged, `Envoy logged ${logged} bytes`)
    assert.ok(lines !== null && lines.length < allowed, `${lines?.length} lines of the access log`)
    assert.ok(listeners <= 12, `${listeners} changes of listeners`)
  })
})

async function listenerChanges(lab: AgentLab): Promise<number> {
  const { stdout } = await lab.on('curl', ['--silent', 'http://127.0.0.1:15000/stats?filter=^listener_manager\\.'])
  const value = (name: string) => Number(new RegExp(`^listener_manager\\.${name}: (\\d+)$`, 'm').exec(stdout)![1])
  return value('listener_modified')
}

/** At any time, in MiB. */
function mostResident(pid: number): number {
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024)
}
