/** Session affinity ClientIP with real nftables and real traffic. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import { KernelLab, needsRoot } from './lab.ts'

const protocols = ['TCP', 'UDP'] as const
const families = ['IPv4', 'IPv6'] as const
const seconds = 10_800

describe('Session affinity', needsRoot, () => {
  let lab: KernelLab
  let pods: Pod[]
  let client: Pod
  let source = 41_000

  function service(
    family: (typeof families)[number],
    protocol: (typeof protocols)[number],
    endpoints: readonly Pod[],
    affinitySeconds: number | undefined = seconds,
  ): PortState {
    const [vip, address] = family === 'IPv4' ? (['10.96.0.1', 'ip'] as const) : (['fd00:96::1', 'ip6'] as const)
    const at = endpoints.map(pod => `${pod[address]} ${protocol === 'TCP' ? 8080 : 5353}@${pod.node}`)
    const port = { name: 'p', protocol, port: 80 }
    return portState(`a/${protocol.toLowerCase()}/p/${family}`, vip, at, { port, affinitySeconds })
  }

  /** The name of the endpoint that answers a new connection. */
  async function reach({ vip, port }: PortState, netns = client.netns): Promise<string> {
    const answer =
      port.protocol === 'TCP' ? lab.connect(netns, vip, 80) : lab.ask(netns, 'ask', vip, '80', String(source++))
    return (await answer).split(' ')[0]!
  }

  async function stays(state: PortState, home: string): Promise<void> {
    for (let n = 0; n < 4; n++) assert.equal(await reach(state), home)
  }

  async function set(state: PortState): Promise<void> {
    lab.tables.setPort(state)
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
  }

  before(async () => {
    lab = await KernelLab.create()
    pods = [await lab.addServer('node1', 'a'), await lab.addServer('node2', 'b'), await lab.addServer('node2', 'c')]
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    lab.tables.synced()
    await lab.tables.settled()
  })
  after(() => lab?.destroy())

  for (const family of families) {
    for (const protocol of protocols) {
      test(`keeps a client of ${protocol} over ${family} with its endpoint until that is gone`, async () => {
        const [first, second, third] = pods as [Pod, Pod, Pod]
        await set(service(family, protocol, [first, second]))
        const home = await reach(service(family, protocol, []))
        await stays(service(family, protocol, []), home)
        await set(service(family, protocol, pods))
        await stays(service(family, protocol, []), home)
        const others = [first, second].filter(pod => pod.name !== home)
        const stayed = pods.find(pod => pod.name === home)!
        await set(service(family, protocol, [stayed, third]))
        await stays(service(family, protocol, []), home)
        await set(service(family, protocol, [...others, third]))
        const next = await reach(service(family, protocol, []))
        assert.notEqual(next, home)
        await set(service(family, protocol, pods))
        await stays(service(family, protocol, []), next)
      })
    }
  }

  test('is for each client by itself, processes of the node too', async () => {
    const state = service('IPv4', 'TCP', pods)
    await set(state)
    const homes = new Set<string>()
    for (let n = 0; n < 20 && homes.size < 2; n++) {
      const other = await lab.network.addPod('node1', `other${n}`)
      const home = await reach(state, other.netns)
      assert.equal(await reach(state, other.netns), home)
      homes.add(home)
    }
    assert.equal(homes.size, 2)
    const home = await reach(state, lab.node.netns)
    for (let n = 0; n < 6; n++) assert.equal(await reach(state, lab.node.netns), home)
  })

  test('survives a restart of the agent, which writes nothing', async () => {
    const states = families.flatMap(family => protocols.map(protocol => service(family, protocol, pods)))
    const port = { name: 'p', protocol: 'SCTP', port: 80 } as const
    const sctp = portState('a/sctp/p', '10.96.0.1', ['10.1.0.1:9'], { port, affinitySeconds: 86_399 })
    for (const state of [...states, sctp]) await set(state)
    const homes = await Promise.all(states.map(state => reach(state)))
    await lab.tables.close()
    lab.flushes.length = 0
    lab.tables = lab.createTables()
    await lab.tables.start()
    for (const state of [...states, sctp]) lab.tables.setPort(state)
    lab.tables.synced()
    await lab.tables.settled()
    assert.deepEqual(lab.flushes, [])
    for (const [n, state] of states.entries()) await stays(state, homes[n]!)
    lab.tables.removePort(sctp.id)
  })

  test('survives a new version of the fixed part', async () => {
    const states = families.flatMap(family => protocols.map(protocol => service(family, protocol, pods)))
    const homes = await Promise.all(states.map(state => reach(state)))
    await lab.tables.close()
    lab.tables = lab.createTables({ targetPort: 1777 })
    await lab.tables.start()
    for (const state of states) lab.tables.setPort(state)
    lab.tables.synced()
    await lab.tables.settled()
    for (const [n, state] of states.entries()) await stays(state, homes[n]!)
  })

  test('ends when its time is over, and a new time holds from the next connection on', async () => {
    const brief = service('IPv4', 'TCP', pods, 1)
    await set(brief)
    const home = await reach(brief)
    assert.match(await lab.onNode('nft', 'list', 'chain', 'ip', 'lightpath', 'affinity-10.96.0.1-tcp-80'), /timeout 1s/)
    let moved = false
    for (let n = 0; n < 20 && !moved; n++) {
      await delay(1500)
      moved = (await reach(brief)) !== home
    }
    assert.ok(moved)
  })

  test('leaves nothing behind when it is switched off', async () => {
    for (const family of families) {
      for (const protocol of protocols) {
        const { affinitySeconds: _, ...plain } = service(family, protocol, pods)
        await set({ ...plain, affinitySeconds: undefined })
      }
    }
    const ruleset = await lab.onNode('nft', 'list', 'ruleset')
    assert.doesNotMatch(ruleset, /affinity-|clients-/)
    const seen = new Set<string>()
    for (let n = 0; n < 60 && seen.size < 3; n++) seen.add(await reach(service('IPv4', 'TCP', [])))
    assert.equal(seen.size, 3)
  })
})
