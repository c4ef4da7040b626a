/**
 * 5,000 hostile objects (objects.ts) through the agent, the real Envoy and the real kernel, while somebody else's
 * Service is called all the time. A run is told by its seed: `LIGHTPATH_SEED=… node --test test/node/hostile/hostile.test.ts`
 * repeats it.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { RunningPod } from '../../../src/lab/pods.ts'
import type { Bootstrap } from '../agent/bootstrap.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { service, serviceWith } from '../manifests.ts'
import { hostileObjects } from './objects.ts'

const batches = 20
const objectsPerBatch = 250
/** So many batches are there at a time. */
const kept = 4
const seed = Number(process.env.LIGHTPATH_SEED ?? Date.now() % 2 ** 31)
/** A VIP whose listener Envoy has from somebody else. */
const occupied = '10.97.1.1'
const mostMegabytes = { agent: 400, envoy: 600 }

describe(`hostile objects, with LIGHTPATH_SEED=${seed}`, { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const url = 'http://10.96.9.1/'

  before(async () => {
    lab = await AgentLab.build({ bootstrap: occupyHostile })
    const pods = await lab.pods(['client', 'web-1', 'web-2'], 10)
    const [first, ...others] = pods
    client = first!
    // Where policies are, connections of pods that nobody has told stay in the kernel layer.
    lab.write('pods', pods.map(podManifest))
    const old = '2020-01-01T00:00:00Z'
    const good = serviceWith({ name: 'good', vips: ['10.96.9.1', 'fd00:96:9::1'] }, others)
    lab.write(
      'good',
      good.map(object => withMetadata(object, { creationTimestamp: old })),
    )
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  after(() => lab?.destroy())

  test('crash nothing, take nothing from another tenant, and what Envoy refuses of them is named', async t => {
    t.diagnostic(`LIGHTPATH_SEED=${seed} repeats this run`)
    const [agent, envoy] = [lab.agent.pid!, lab.envoy.pid!]
    const victim = {
      vips: ['10.96.9.1', 'fd00:96:9::1'],
      endpoints: ['10.244.1.11', '10.244.1.12', 'fd00:244:1::11'],
      nodeAddresses: [lab.node.address, lab.node.address6],
    }
    const numRuns = batches * objectsPerBatch
    const objects = fc.sample(hostileObjects(victim), { seed, numRuns }).flat().slice(0, numRuns)
    let mostInOverlay = 0
    const [keptAlive, fresh] = [
      await lab.load(client, { url, connections: 4, rate: 50 }),
      await lab.load(client, { url, connections: 4, rate: 50, fresh: true }),
    ]
    // Chance alone does not always give one that Envoy refuses.
    const pod = { name: 'pod-1', node: 'node1', ip: '10.244.99.1', ip6: 'fd00:244:99::1' }
    const refused = { name: 'refused', namespace: 'evil-3', vips: [occupied], settings: { 'access-log': 'true' } }
    lab.write('refused', serviceWith(refused, [pod]))
    for (let batch = 0; batch < batches; batch++) {
      const part = objects.slice(batch * objectsPerBatch, (batch + 1) * objectsPerBatch)
      const marker = service({ name: `marker-${batch}`, vips: [`10.96.10.${batch + 1}`] })
      lab.write(`hostile-${batch % kept}`, [...part, marker])
      await lab.until(`batch ${batch}`, async () => lab.explain(`default/marker-${batch}`))
      assert.deepEqual([lab.agent.pid, lab.envoy.pid], [agent, envoy], `batch ${batch} ended one of them`)
      mostInOverlay = Math.max(mostInOverlay, (await lab.metric('lightpath_overlay_entries')) ?? 0)
    }
    await lab.until('Envoy to have answered', async () => (await lab.metric('lightpath_envoy_up')) === 1)
    const reports = [await keptAlive.stop(), await fresh.stop()]
    for (const { errors, layers } of reports) {
      assert.deepEqual(errors, {})
      assert.deepEqual(Object.keys(layers), ['envoy'])
    }
    assert.deepEqual(await lab.problems('default/good'), [])
    const problems = problemsLogged(lab.agentLog())
    for (const problem of problems) {
      assert.match(problem.object, /^(Service|EndpointSlice|Pod|NetworkPolicy|Namespace|Node|ServiceCIDR|.*\.json)/)
      if (problem.code === 'LP301' || problem.code === 'LP401') assert.match(problem.object, /^Service evil-\d/)
    }
    // They have come as far as Envoy, and it has refused some.
    assert.ok(mostInOverlay > 50, `${mostInOverlay} in the overlay`)
    assert.ok(problems.some(({ code, object }) => code === 'LP301' && object.startsWith('Service evil-3/refused')))
    const megabytes = { agent: residentMegabytes(agent), envoy: residentMegabytes(envoy) }
    t.diagnostic(`agent ${megabytes.agent} MB, Envoy ${megabytes.envoy} MB`)
    assert.ok(megabytes.agent < mostMegabytes.agent, `the agent has ${megabytes.agent} MB`)
    assert.ok(megabytes.envoy < mostMegabytes.envoy, `Envoy has ${megabytes.envoy} MB`)
  })

  test('leave nothing behind when they go', async () => {
    lab.remove('refused')
    for (let file = 0; file < kept; file++) lab.remove(`hostile-${file}`)
    await lab.until('their end', async () => (await lab.metric('lightpath_objects{kind="services"}')) === 1)
    await lab.untilServedBy('envoy', client, url)
    for (const family of ['ip', 'ip6']) {
      const map = await lab.until('an empty map', async () => {
        const text = await lab.nft('list', 'map', family, 'lightpath', 'services')
        return /10\.97\.|fd00:97:/.test(text) ? undefined : text
      })
      assert.match(map, /goto endpoints-tcp-2/)
    }
  })
})

/** Somebody's own listeners in Envoy's bootstrap, at addresses where it then takes no other. */
function occupyHostile({ staticResources }: Bootstrap): void {
  const type = 'type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config'
  for (const address of [occupied, ...Array.from({ length: 64 }, (_, last) => `10.97.0.${last}`)]) {
    staticResources.listeners.push({
      name: `not-ours-${address}`,
      address: { socketAddress: { address, portValue: 80 } },
      bindToPort: false,
      filterChains: [{ filters: [{ name: 'direct_response', typedConfig: { '@type': type } }] }],
    })
  }
}

function podManifest({ name, node, ip, ip6 }: RunningPod): object {
  const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: ip6 }] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'default', name }, spec: { nodeName: node }, status }
}

function withMetadata(object: object, more: object): object {
  const { metadata } = object as { metadata: object }
  return { ...object, metadata: { ...metadata, ...more } }
}

function problemsLogged(log: string): readonly { readonly code: string; readonly object: string }[] {
  const lines = log.split('\n').filter(line => line.includes('"problem"'))
  return lines.map(line => JSON.parse(line) as { code: string; object: string })
}

function residentMegabytes(pid: number): number {
  const [, kilobytes = ''] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1024)
}
