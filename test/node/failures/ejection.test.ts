/** Endpoints that do worse than their siblings are ejected; one client's bad requests eject none. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setFault } from '../../../src/lab/clients.ts'
import type { Pod } from '../../../src/lab/network.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const settings = { 'outlier-detection-base-ejection-time': '2s', 'outlier-detection-interval': '1s' }
const services = [
  { name: 'pair', vip: '10.96.1.2', endpoints: 2 },
  { name: 'three', vip: '10.96.1.3', endpoints: 3 },
]

describe('an endpoint that does worse than its siblings', { skip }, () => {
  let lab: AgentLab
  let pods: readonly Pod[]
  let client: Pod

  before(async () => {
    lab = await AgentLab.build()
    pods = await lab.pods(['web-1', 'web-2', 'web-3'], 11)
    client = await lab.pod('client', 50)
    const manifests = services.map(({ name, vip, endpoints }) =>
      serviceWith({ name, vips: [vip], settings }, pods.slice(0, endpoints)),
    )
    lab.write('services', manifests.flat())
    await lab.start()
    for (const { vip } of services) await lab.untilServedBy('envoy', client, `http://${vip}/`)
  })

  after(() => lab?.destroy())

  const ejected = async (name: string) => {
    const explanation = await lab.explain(`default/${name}`)
    const health = explanation?.health[`default/${name}/http`] ?? {}
    return Object.entries(health).flatMap(([endpoint, { ejected }]) => (ejected ? [endpoint] : []))
  }

  for (const { name, vip, endpoints } of services) {
    const load = (path: string, options: object) =>
      lab.load(client, { url: `http://${vip}${path}`, method: 'POST', connections: 10, ...options })

    test(`${endpoints} endpoints: 40 POSTs of one client that fail eject none, alone and among others`, async () => {
      lab.forgetLog()
      const bad = async () => {
        const { errors } = await (await load('/status?code=500', { connections: 1, requests: 40, rate: 40 })).report
        assert.deepEqual(errors, { 'HTTP 500': 40 })
        assert.deepEqual(await ejected(name), [])
      }
      await bad()
      const others = await load('/', { rate: 60 })
      await bad()
      assert.deepEqual((await others.stop()).errors, {})
      assert.doesNotMatch(lab.agentLog(), /is ejected/)
    })

    for (const percent of [100, 50])
      test(`${endpoints} endpoints: one that fails ${percent} % of its requests is ejected, and comes back`, async () => {
        const others = await load('/', { rate: 60 })
        await setFault(pods[0]!, 8080, 500, percent)
        const first = await lab.until('an ejection', async () => {
          const endpoints = await ejected(name)
          return endpoints.length > 0 && endpoints
        })
        assert.deepEqual(first, [`${pods[0]!.ip}:8080`])
        await setFault(pods[0]!, 8080, 200)
        await others.stop()
        const after = await load('/', { rate: 60 })
        await lab.until('its return', async () => (await ejected(name)).length === 0)
        await lab.until('an answer', async () => (await lab.ask(client, `http://${vip}/`)) === 'web-1 by envoy')
        assert.deepEqual((await after.stop()).errors, {})
      })
  }
})
