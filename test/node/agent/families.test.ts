/** One IP family never stops the other. */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { serviceWith } from '../manifests.ts'
import { AgentLab, skip } from './lab.ts'

describe('where IPv6 does not work', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const [url, url6] = ['http://10.96.8.1/', 'http://[fd00:96:8::1]/']
  const ipv6 = (value: 0 | 1, ...where: readonly string[]) =>
    lab.on('sysctl', ['-qw', ...where.map(conf => `net.ipv6.conf.${conf}.disable_ipv6=${value}`)])

  before(async () => {
    lab = await AgentLab.build()
    const pods = await lab.pods(['client', 'web-1'], 10)
    client = pods[0]!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.8.1', 'fd00:96:8::1'] }, pods.slice(1)))
  })

  after(() => lab?.destroy())

  afterEach(async () => {
    await Promise.all([lab.agent.down(), lab.envoy.down()])
    await lab.lightpath('cleanup')
    lab.forgetLog()
  })

  test('that somebody takes IPv6 from lo leaves IPv4 as it is, mended too, and IPv6 comes back with it', async () => {
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.untilServedBy('envoy', client, url6)
    await ipv6(1, 'lo')
    await lab.nft('flush', 'ruleset')
    const line = await lab.untilLogged(/LP401.*"problem"/)
    assert.match(line, /nftables, IPv6/)
    await lab.untilServedBy('envoy', client, url)
    await lab.untilMetric('lightpath_problems{code="LP401"}', 1)
    const { stdout } = await lab.on('curl', ['--silent', 'http://127.0.0.1:10256/livez'])
    assert.deepEqual(Object.keys(JSON.parse(stdout).status), ['IPv4', 'IPv6'])
    await ipv6(0, 'lo')
    await lab.untilLogged(/LP401.*"problem is over"/)
    await lab.untilServedBy('envoy', client, url6)
  })

  test('switched off everywhere before the agent starts, IPv6 is absent and nothing is wrong', async () => {
    await ipv6(1, 'all', 'default', 'lo')
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    assert.equal(await lab.nft('list', 'table', 'ip6', 'lightpath'), '')
    await lab.untilMetric('lightpath_problems{code="LP401"}', undefined)
    await lab.untilMetric('lightpath_path_open{family="IPv6"}', undefined)
    assert.doesNotMatch(lab.agentLog(), /"problem"/)
    await ipv6(0, 'all', 'default', 'lo')
  })
})
