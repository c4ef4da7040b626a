/** Node ports, external and load-balancer IPs with real nftables and real traffic: from outside, pods and the node. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { LabNode, Pod } from '../../src/demo/network.ts'
import { portState } from '../../src/kernel/testing.ts'
import type { External, PortState } from '../../src/services/port.ts'
import { KernelLab, needsRoot } from './kernel-lab.ts'

type Family = 'IPv4' | 'IPv6'

describe('From outside', needsRoot, () => {
  let lab: KernelLab
  let near: Pod
  let far: Pod
  let client: Pod
  let node: LabNode

  const families: readonly Family[] = ['IPv4', 'IPv6']
  const addressOf = (pod: Pod, family: Family) => (family === 'IPv4' ? pod.ip : pod.ip6)
  const nodeAddress = (family: Family) => (family === 'IPv4' ? node.address : node.address6)

  /** A port of both families with the same endpoints; `external` says how it is reached. */
  const service = (
    family: Family,
    pods: readonly Pod[],
    external: Partial<External>,
    more: Partial<PortState> = {},
  ): PortState => {
    const udp = more.port?.protocol === 'UDP'
    const [vip, separator] = family === 'IPv4' ? ['10.96.0.1', ':'] : ['fd00:96::1', ' ']
    const texts = pods.map(pod => `${addressOf(pod, family)}${separator}${udp ? 5353 : 8080}@${pod.node}`)
    const state = portState(`a/${udp ? 'dns' : 'web'}/p/${family}`, vip!, texts)
    const local = state.endpoints.filter(({ nodeName }) => nodeName === node.name)
    const endpoints = external.policy === 'Local' ? local : state.endpoints
    return {
      ...state,
      ...more,
      external: {
        nodePort: undefined,
        externalIPs: [],
        loadBalancerIPs: [],
        sourceRanges: [],
        policy: 'Cluster',
        endpoints,
        clusterEndpoints: state.endpoints,
        onlyElsewhere: endpoints.length === 0 && state.endpoints.length > 0,
        ...external,
      },
    }
  }
  const set = async (...states: PortState[]) => {
    for (const state of states) lab.tables.setPort(state)
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
  }
  /** What connections say until both servers have answered, or 30 of them. */
  const answers = async (netns: string, ip: string, port: number): Promise<readonly string[]> => {
    const seen = new Set<string>()
    for (let n = 0; n < 30 && seen.size < 2; n++) seen.add(await lab.connect(netns, ip, port))
    return [...seen].toSorted()
  }

  before(async () => {
    lab = await KernelLab.create()
    node = lab.node
    near = await lab.addServer('node1', 'near')
    far = await lab.addServer('node2', 'far')
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    lab.tables.setNode({ addresses: [node.address, node.address6] })
    lab.tables.synced()
    await lab.tables.settled()
  })
  after(() => lab?.destroy())

  for (const family of families) {
    test(`a node port over ${family} leads outsiders, pods and the node to every endpoint, and answers come back`, async () => {
      await set(service(family, [near, far], { nodePort: 30_080 }))
      const ip = nodeAddress(family)
      // The node's address toward the near pod is its own too: its end of the pod's link has none.
      const both = [`far ${ip}`, `near ${ip}`]
      assert.deepEqual(await answers(lab.network.fabric, ip, 30_080), both)
      assert.deepEqual(await answers(client.netns, ip, 30_080), both)
      assert.deepEqual(await answers(node.netns, ip, 30_080), both)
      const dns = { port: { name: 'p', protocol: 'UDP', port: 53 } } as const
      await set(service(family, [far], { nodePort: 30_053 }, dns))
      assert.equal(await lab.ask(lab.network.fabric, 'ask', ip, '30053', '40010'), `far ${ip}`)
    })

    test(`a node port over ${family} without endpoints refuses at once`, async () => {
      await set(service(family, [], { nodePort: 30_080 }))
      for (const netns of [lab.network.fabric, client.netns, node.netns]) {
        assert.equal(await lab.connect(netns, nodeAddress(family), 30_080), 'ECONNREFUSED')
      }
    })
  }

  test('a node port is opened by the primary addresses only, or by those in the ranges given, never by loopback', async () => {
    await set(service('IPv4', [near], { nodePort: 30_080 }))
    await lab.onNode('ip', 'address', 'add', '172.30.0.211/24', 'dev', 'eth0')
    const ask = (ip: string) => lab.connect(ip === '127.0.0.1' ? node.netns : lab.network.fabric, ip, 30_080)
    assert.match(await ask(node.address), /^near /)
    assert.equal(await ask('172.30.0.211'), 'ECONNREFUSED')
    assert.equal(await ask('127.0.0.1'), 'ECONNREFUSED')
    await lab.tables.close()
    lab.tables = lab.createTables({ nodeportAddresses: ['172.30.0.208/28', '127.0.0.0/8'] })
    await lab.tables.start()
    lab.tables.setPort(service('IPv4', [near], { nodePort: 30_080 }))
    lab.tables.synced()
    await lab.tables.settled()
    assert.equal(await ask(node.address), 'ECONNREFUSED')
    assert.match(await ask('172.30.0.211'), /^near /)
    assert.equal(await ask('127.0.0.1'), 'ECONNREFUSED')
    await lab.tables.close()
    lab.tables = lab.createTables()
    await lab.tables.start()
    lab.tables.setNode({ addresses: [node.address, node.address6] })
    lab.tables.synced()
    await lab.tables.settled()
  })
})
