/** A node whose agent is gone for too long, with real nftables, beside rules as kube-proxy has them, and without. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withNftables } from '../../../src/kernel/nftables/client.ts'
import { heartbeatSet } from '../../../src/kernel/nftables/elements/elements.ts'
import type { KernelTables } from '../../../src/kernel/nftables/sync/table.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import { holdConnection, KernelLab, needsRoot } from './lab.ts'

const abandonAfter = 6000

/** Of each family: what kube-proxy has, too; what it has and we had no endpoint of; ours alone; ours without endpoints. */
const vips = {
  IPv4: { shared: '10.96.0.1', sharedEmpty: '10.96.0.2', ours: '10.96.0.3', oursEmpty: '10.96.0.4' },
  IPv6: { shared: 'fd00:96::1', sharedEmpty: 'fd00:96::2', ours: 'fd00:96::3', oursEmpty: 'fd00:96::4' },
} as const
const families = ['IPv4', 'IPv6'] as const

describe('A node without an agent', needsRoot, () => {
  let lab: KernelLab
  let server: Pod
  let theirs: Pod
  let client: Pod

  const states = (): readonly PortState[] =>
    families.flatMap(family => {
      const { shared, sharedEmpty, ours, oursEmpty } = vips[family]
      const endpoint = family === 'IPv4' ? `${server.ip}:8080@node2` : `${server.ip6} 8080@node2`
      return [
        portState(`a/shared/http/${family}`, shared, [endpoint]),
        portState(`a/shared-empty/http/${family}`, sharedEmpty, []),
        portState(`a/ours/http/${family}`, ours, [endpoint]),
        portState(`a/ours-empty/http/${family}`, oursEmpty, []),
      ]
    })
  const startAgent = async (): Promise<KernelTables> => {
    const tables = lab.createTables({ abandonAfter, ownsClusterIPs: false })
    await tables.start()
    for (const state of states()) tables.setPort(state)
    tables.synced()
    const redirected = families.flatMap(family => [vips[family].shared, vips[family].ours])
    tables.setOverlay(
      redirected.map(ip => ({ ip, port: 80 })),
      true,
    )
    await tables.settled()
    return tables
  }
  const isAttended = async () =>
    (await withNftables(lab.options.netns, nft => nft.keys('ip', heartbeatSet)))!.length > 0
  const abandoned = async () => {
    for (let tries = 0; await isAttended(); tries++) {
      assert.ok(tries < 100, 'the heartbeat does not end')
      await sleep(200)
    }
  }
  /** kube-proxy's chains, as far as they decide here: what it has is translated, at its priority. */
  const addKubeProxy = async () => {
    for (const family of families) {
      const [ip, target] = family === 'IPv4' ? ['ip', `${theirs.ip}:8080`] : ['ip6', `[${theirs.ip6}]:8080`]
      const { shared, sharedEmpty } = vips[family]
      const rule = `${ip} daddr { ${shared}, ${sharedEmpty} } tcp dport 80 dnat to ${target}`
      const chain = (hook: string) => `chain ${hook} { type nat hook ${hook} priority -100; ${rule}; }`
      await lab.onNode('nft', `table ${ip} kube-proxy { ${chain('prerouting')}; ${chain('output')}; }`)
    }
  }
  const answers = async (from: 'pod' | 'node') => {
    const netns = from === 'pod' ? client.netns : lab.node.netns
    const told: Record<string, string> = {}
    for (const family of families) {
      for (const [name, vip] of Object.entries(vips[family])) {
        told[`${family} ${name}`] = (await lab.connect(netns, vip, 80)).split(' ')[0]!
      }
    }
    return told
  }
  const expected = (of: Readonly<Record<keyof typeof vips.IPv4, string>>) =>
    Object.fromEntries(
      families.flatMap(family => Object.entries(of).map(([name, answer]) => [`${family} ${name}`, answer])),
    )
  const served = { shared: 'envoy', sharedEmpty: 'ECONNREFUSED', ours: 'envoy', oursEmpty: 'ECONNREFUSED' }

  before(async () => {
    lab = await KernelLab.create()
    ;[server, theirs] = [await lab.addServer('node2', 'server'), await lab.addServer('node2', 'kube-proxy')]
    client = await lab.network.addPod('node1', 'client')
    await lab.spawn(lab.node.netns, ['transparent', '1666'])
  })
  after(() => lab?.destroy())

  test('is served by all our rules while the time is not over, and by the kernel layer for ever after, where nobody else is', async () => {
    const agent = await startAgent()
    assert.deepEqual(await answers('pod'), expected(served))
    await agent.close()
    for (const { shared } of Object.values(vips)) assert.match(await lab.connect(client.netns, shared, 80), /^envoy /)
    const open = await holdConnection(client.netns, vips.IPv4.shared, 80)
    await abandoned()
    const kernel = { shared: 'server', sharedEmpty: 'ECONNREFUSED', ours: 'server', oursEmpty: 'ECONNREFUSED' }
    for (const from of ['pod', 'node'] as const) assert.deepEqual(await answers(from), expected(kernel))
    assert.equal(await open.say('still there'), 'still there')
    open.close()
  })

  test('leaves to kube-proxy what that has, and serves the rest', async () => {
    await addKubeProxy()
    const handedOver = { shared: 'kube-proxy', sharedEmpty: 'kube-proxy', ours: 'server', oursEmpty: 'ECONNREFUSED' }
    for (const from of ['pod', 'node'] as const) assert.deepEqual(await answers(from), expected(handedOver))
  })

  test('has all our rules before those of kube-proxy again when an agent is back that knows the Services', async () => {
    const agent = await startAgent()
    assert.deepEqual(await answers('pod'), expected(served))
    assert.deepEqual([...lab.problems.values()].flat(), [])
    // Longer than without an agent.
    await sleep(abandonAfter + 1000)
    assert.equal(await isAttended(), true)
    assert.deepEqual(await answers('pod'), expected(served))
    await agent.close()
  })

  test('keeps our rules first for ever where the agent was told 0', async () => {
    const agent = lab.createTables({ abandonAfter: 0 })
    await agent.start()
    agent.synced()
    await agent.settled()
    await agent.close()
    await sleep(abandonAfter + 1000)
    assert.equal(await isAttended(), true)
  })
})
