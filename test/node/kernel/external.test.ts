/** Node ports, external and load-balancer IPs with real nftables and real traffic: from outside, pods and the node. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { KernelOptions } from '../../../src/kernel/options.ts'
import { belowFromOutside, portState } from '../../../src/kernel/testing/states.ts'
import type { LabNode, Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import type { External, PortState } from '../../../src/plan/ports/port.ts'
import { KernelLab, needsRoot } from './lab.ts'

type Family = 'IPv4' | 'IPv6'

describe('From outside', needsRoot, () => {
  let lab: KernelLab
  let near: Pod
  let far: Pod
  let client: Pod
  let node: LabNode

  const pods = { clusterCidr: ['10.244.0.0/16', 'fd00:244::/32'] }
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
        noLocalEndpoints: endpoints.length === 0 && state.endpoints.length > 0,
        layer: belowFromOutside,
        ...external,
      },
    }
  }
  const set = async (...states: PortState[]) => {
    for (const state of states) lab.tables.setPort(state)
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
  }
  /** As a new run of the agent with these options. */
  const restart = async (options: Partial<KernelOptions>, states: readonly PortState[]) => {
    await lab.tables.close()
    lab.tables = lab.createTables({ ...pods, ...options })
    await lab.tables.start()
    lab.tables.setNode({ addresses: [node.address, node.address6], podCidrs: [] })
    for (const state of states) lab.tables.setPort(state)
    lab.tables.synced()
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
  }
  /** What connections say until both servers have answered, or 40 of them: that one of two is never chosen does not happen. */
  const answers = async (netns: string, ip: string, port: number): Promise<readonly string[]> =>
    (await lab.ask(netns, 'each', ip, String(port))).split('\n')

  before(async () => {
    lab = await KernelLab.create()
    node = lab.node
    near = await lab.addServer('node1', 'near')
    far = await lab.addServer('node2', 'far')
    client = await lab.network.addPod('node1', 'client')
    await restart({}, [])
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

  for (const family of families) {
    const [lbIp, externalIp] = family === 'IPv4' ? ['192.0.2.7', '192.0.2.8'] : ['fd00:192::7', 'fd00:192::8']
    /** As a router that sends what is for these addresses to the node. */
    const routeToNode = async () => {
      const flag = family === 'IPv4' ? '-4' : '-6'
      for (const ip of [lbIp, externalIp]) {
        await runIn(lab.network.fabric, 'ip', [flag, 'route', 'replace', ip, 'via', nodeAddress(family)])
      }
    }
    const outsider = family === 'IPv4' ? '172.30.0.1' : 'fd00:30::1'
    const addresses = { externalIPs: [externalIp], loadBalancerIPs: [lbIp], nodePort: 30_080 }

    test(`external and load-balancer IPs over ${family} lead to every endpoint, masqueraded`, async () => {
      await routeToNode()
      await set(service(family, [near, far], addresses))
      const both = [`far ${nodeAddress(family)}`, `near ${nodeAddress(family)}`]
      for (const ip of [lbIp, externalIp]) {
        assert.deepEqual(await answers(lab.network.fabric, ip, 80), both)
        assert.deepEqual(await answers(client.netns, ip, 80), both)
        assert.deepEqual(await answers(node.netns, ip, 80), both)
      }
    })

    test(`policy Local over ${family} keeps the outsider's address, and gives pods and the node every endpoint`, async () => {
      await routeToNode()
      await set(service(family, [near, far], { ...addresses, policy: 'Local' }))
      for (const [ip, port] of [
        [lbIp, 80],
        [externalIp, 80],
        [nodeAddress(family), 30_080],
      ] as const) {
        assert.deepEqual(await answers(lab.network.fabric, ip, port), [`near ${outsider}`])
        const address = addressOf(client, family)
        assert.deepEqual(await answers(client.netns, ip, port), [`far ${address}`, `near ${address}`])
        assert.deepEqual(await answers(node.netns, ip, port), [
          `far ${nodeAddress(family)}`,
          `near ${nodeAddress(family)}`,
        ])
      }
    })

    test(`policy Local over ${family} without endpoints here drops outsiders, and nobody else`, async () => {
      await routeToNode()
      await set(service(family, [far], { ...addresses, policy: 'Local' }))
      const ways = [
        [lbIp, 80],
        [nodeAddress(family), 30_080],
      ] as const
      const outside = await Promise.all(ways.map(([ip, port]) => lab.connect(lab.network.fabric, ip, port)))
      assert.deepEqual(outside, ['timeout', 'timeout'])
      for (const [ip, port] of ways) {
        assert.equal(await lab.connect(client.netns, ip, port), `far ${addressOf(client, family)}`)
        assert.match(await lab.connect(node.netns, ip, port), /^far /)
      }
    })

    test(`without endpoints over ${family} every way refuses at once, whatever the policy`, async () => {
      await routeToNode()
      await set(service(family, [], { ...addresses, policy: 'Local' }))
      for (const ip of [lbIp, externalIp]) {
        assert.equal(await lab.connect(lab.network.fabric, ip, 80), 'ECONNREFUSED')
      }
    })

    test(`source ranges over ${family} hold for load-balancer IPs, and for no other way`, async () => {
      await routeToNode()
      const range = family === 'IPv4' ? ['10.0.0.0/8', '198.51.100.0/24'] : ['fd00:244::/32', 'fd00:198::/64']
      await set(service(family, [near], { ...addresses, sourceRanges: range }))
      const refused = await Promise.all([lab.network.fabric, node.netns].map(from => lab.connect(from, lbIp, 80)))
      assert.deepEqual(refused, ['timeout', 'timeout'])
      assert.match(await lab.connect(client.netns, lbIp, 80), /^near /)
      assert.match(await lab.connect(lab.network.fabric, externalIp, 80), /^near /)
      assert.match(await lab.connect(lab.network.fabric, nodeAddress(family), 30_080), /^near /)
      const all = family === 'IPv4' ? '172.16.0.0/12' : 'fd00:30::/32'
      await set(service(family, [near], { ...addresses, sourceRanges: [...range, all] }))
      assert.match(await lab.connect(lab.network.fabric, lbIp, 80), /^near /)
    })

    test(`a VIP over ${family} masquerades outsiders and the node, and no pod`, async () => {
      const vip = family === 'IPv4' ? '10.96.0.1' : 'fd00:96::1'
      await runIn(lab.network.fabric, 'ip', ['route', 'replace', vip, 'via', nodeAddress(family)])
      await set(service(family, [far], {}))
      assert.equal(await lab.connect(lab.network.fabric, vip, 80), `far ${nodeAddress(family)}`)
      assert.equal(await lab.connect(node.netns, vip, 80), `far ${nodeAddress(family)}`)
      assert.equal(await lab.connect(client.netns, vip, 80), `far ${addressOf(client, family)}`)
    })
  }

  test('thousands of source ranges on several ports are there, change one by one, and are gone, while the kernel goes on', async t => {
    const all = (from: number) =>
      Array.from({ length: 2000 }, (_, i) => `10.${(from + i) >> 8}.${(from + i) & 255}.0/24`)
    const states = (from: number) => {
      const sourceRanges = all(from)
      return [81, 82, 83, 84].map(port => {
        const many = service('IPv4', [near], { loadBalancerIPs: ['192.0.2.99'], sourceRanges })
        return { ...many, id: `a/many/${port}`, vip: '10.96.0.99', port: { ...many.port, port } }
      })
    }
    await set(...states(0))
    const before = lab.flushes.length
    await set(...states(1))
    const changed = lab.flushes.slice(before)
    assert.equal(
      changed.reduce((sum, { added }) => sum + added, 0),
      4,
    )
    for (const { id } of states(1)) lab.tables.removePort(id)
    await lab.tables.settled()
    const slowest = Math.max(...lab.flushes.map(({ milliseconds }) => milliseconds))
    t.diagnostic(`longest transaction: ${Math.round(slowest)} ms`)
    assert.doesNotMatch(await lab.onNode('nft', 'list', 'sets', 'ip'), /ranges-192\.0\.2\.99/)
  })

  test('a restart finds all of it as it should be, and writes nothing', async () => {
    const ranges = ['10.1.0.0/16', '10.0.0.0/16', '172.30.0.0/24']
    const states = [
      service('IPv4', [near, far], { nodePort: 30_080, loadBalancerIPs: ['192.0.2.7'], sourceRanges: ranges }),
      service('IPv6', [near, far], { externalIPs: ['fd00:192::8'], nodePort: 30_080, policy: 'Local' }),
    ]
    await restart({}, states)
    const written = lab.flushes.length
    await restart({}, states)
    assert.equal(lab.flushes.length, written)
  })

  test('--masquerade-all is for pods on VIPs, too, and a new fixed part takes over what is there', async () => {
    const sctp = { port: { name: 's', protocol: 'SCTP', port: 9 } } as const
    const ways = { nodePort: 30_080, externalIPs: ['192.0.2.8'] }
    const states = [
      service('IPv4', [far], { ...ways, policy: 'Local' }),
      { ...service('IPv4', [far], { ...ways, nodePort: 30_009 }, sctp), id: 'a/sctp/s', vip: '10.96.0.3' },
    ]
    await restart({}, states)
    await restart({ masqueradeAll: true }, states)
    assert.equal(await lab.connect(client.netns, '10.96.0.1', 80), `far ${node.address}`)
    assert.equal(await lab.connect(client.netns, node.address, 30_080), `far ${client.ip}`)
    const chain = await lab.onNode('nft', 'list', 'chain', 'ip', 'lightpath', 'endpoints-sctp-1-node-port')
    assert.match(chain, /dnat ip to ip daddr & 0\.0\.0\.0 \. sctp dport .* map @endpoints-sctp/)
  })

  test('pods are told by the names of their interfaces, or by their bridge', async () => {
    const vip = '10.96.0.1'
    await runIn(lab.network.fabric, 'ip', ['route', 'replace', vip, 'via', node.address])
    const state = service('IPv4', [far], {})
    const podInterfaceNamePrefix = client.hostLink.slice(0, 3)
    await restart({ clusterCidr: [], detectLocalMode: 'InterfaceNamePrefix', podInterfaceNamePrefix }, [state])
    assert.equal(await lab.connect(client.netns, vip, 80), `far ${client.ip}`)
    assert.equal(await lab.connect(lab.network.fabric, vip, 80), `far ${node.address}`)
    await restart({ detectLocalMode: 'BridgeInterface', podBridgeInterface: client.hostLink }, [state])
    assert.equal(await lab.connect(client.netns, vip, 80), `far ${client.ip}`)
    assert.equal(await lab.connect(near.netns, vip, 80), `far ${node.address}`)
    await restart({ detectLocalMode: 'NodeCIDR' }, [state])
    // Nobody is told, so nobody is masqueraded: the far endpoint answers the outsider past this node.
    assert.equal(await lab.connect(lab.network.fabric, vip, 80), 'timeout')
    lab.tables.setNode({ addresses: [node.address], podCidrs: [node.podCidr] })
    await lab.tables.settled()
    assert.equal(await lab.connect(lab.network.fabric, vip, 80), `far ${node.address}`)
    assert.equal(await lab.connect(client.netns, vip, 80), `far ${client.ip}`)
  })

  test('a node port is opened by the primary addresses only, or by those in the ranges given, never by loopback', async () => {
    await set(service('IPv4', [near], { nodePort: 30_080 }))
    await lab.onNode('ip', 'address', 'add', '172.30.0.211/24', 'dev', 'eth0')
    const ask = (ip: string) => lab.connect(ip === '127.0.0.1' ? node.netns : lab.network.fabric, ip, 30_080)
    assert.match(await ask(node.address), /^near /)
    assert.equal(await ask('172.30.0.211'), 'ECONNREFUSED')
    assert.equal(await ask('127.0.0.1'), 'ECONNREFUSED')
    const state = service('IPv4', [near], { nodePort: 30_080 })
    await restart({ nodeportAddresses: ['172.30.0.208/28', '127.0.0.0/8'] }, [state])
    assert.equal(await ask(node.address), 'ECONNREFUSED')
    assert.match(await ask('172.30.0.211'), /^near /)
    assert.equal(await ask('127.0.0.1'), 'ECONNREFUSED')
    await restart({}, [state])
  })
})
