/** Programs that end their side of a connection, the setting half-close, and an Envoy without the module. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const [ended, plain, below] = ['10.96.0.10', '10.96.0.11', '10.96.0.12'] as const

describe('a Service port whose clients end their side', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod

  before(async () => {
    lab = await AgentLab.build({ followerEnv: { ENVOY_DYNAMIC_MODULES_SEARCH_PATH: '/nowhere' } })
    const [asking, web] = (await lab.pods(['client', 'web'], 10)) as [RunningPod, RunningPod]
    client = asking
    const service = (name: string, vip: string, settings: Readonly<Record<string, string>>) =>
      serviceWith({ name, vips: [vip], settings }, [web])
    lab.write('web', [
      ...service('ended', ended, { 'half-close': 'true' }),
      ...service('plain', plain, {}),
      ...service('below', below, { overlay: 'false' }),
    ])
    await lab.start()
    for (const vip of [ended, plain]) await lab.untilServedBy('envoy', client, `http://${vip}/`)
  })

  after(() => lab?.destroy())

  test('nc -N, and wget and nc of BusyBox, read their answers by either layer', async () => {
    const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    const requests = {
      get,
      post: get.replace('GET', 'POST').replace(/\r\n$/, 'Content-Length: 2\r\n\r\nhi'),
      two: get + get,
    }
    // From files, since a pipe may be empty at first: Envoy resets who sends bytes and FIN at once, and late (detection.c).
    for (const [name, bytes] of Object.entries(requests)) writeFileSync(join(lab.network.directory, name), bytes)
    const file = (name: keyof typeof requests) => join(lab.network.directory, name)
    const scripts = (vip: string) => [
      `nc.openbsd -N ${vip} 80 < ${file('get')}`,
      `busybox nc ${vip} 80 < ${file('get')}`,
      `nc.openbsd -N ${vip} 80 < ${file('post')}`,
      `nc.openbsd -N ${vip} 80 < ${file('two')}`,
      `busybox wget -q -S -O - http://${vip}/ 2>&1`,
    ]
    const statuses = async (vip: string) => {
      const outputs = await Promise.all(
        scripts(vip).map(script => runIn(client.netns, 'sh', ['-c', script], { timeoutMs: 60_000 })),
      )
      return outputs.map(({ stdout }) => stdout.match(/HTTP\/1\.1 \d+/g) ?? [])
    }
    const ok = 'HTTP/1.1 200'
    assert.deepEqual(await statuses(below), [[ok], [ok], [ok], [ok, ok], [ok]])
    for (const vip of [plain, ended]) assert.deepEqual(await statuses(vip), [[ok], [ok], [ok], [ok, ok], [ok]])
  })

  test('with an Envoy beside that lacks the module the kernel layer serves who set it, and no other, until that is gone', async () => {
    await lab.follower.up()
    await lab.untilServedBy('kernel', client, `http://${ended}/`)
    const problem = await lab.until('a problem', async () => (await lab.problems('default/ended'))[0])
    assert.match(problem, /^LP301 .*Failed to load dynamic module/)
    await lab.untilServedBy('envoy', client, `http://${plain}/`)
    await lab.follower.down()
    await lab.untilServedBy('envoy', client, `http://${ended}/`)
    await lab.until('no problem', async () => (await lab.problems('default/ended')).length === 0)
  })
})
