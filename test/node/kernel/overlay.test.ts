/** The overlay with real nftables, and a stand-in for Envoy with a transparent socket. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Nftables } from '../../../src/kernel/nftables/client.ts'
import { readOverlaySwitch, setOverlaySwitch } from '../../../src/kernel/nftables/switch.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { Child } from '../../../src/lab/processes.ts'
import { holdConnection, KernelLab, needsRoot } from './lab.ts'

const both = ['ip', 'ip6'] as const

describe('The overlay', needsRoot, () => {
  let lab: KernelLab
  let server: Pod
  let client: Pod
  let envoy: Child

  const startEnvoy = async (...backlog: readonly string[]) => {
    envoy = await lab.spawn(lab.node.netns, ['transparent', '1666', ...backlog])
  }
  const overlay = (on: boolean) => {
    lab.tables.setOverlay(
      [
        { ip: '10.96.0.1', port: 80 },
        { ip: 'fd00:96::1', port: 80 },
      ],
      on,
    )
    return lab.tables.settled()
  }

  before(async () => {
    lab = await KernelLab.create()
    server = await lab.addServer('node2', 'server')
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    lab.tables.setPort(portState('a/web/http', '10.96.0.1', [`${server.ip}:8080@node2`]))
    lab.tables.setPort(portState('a/web/http/IPv6', 'fd00:96::1', [`${server.ip6} 8080@node2`]))
    const port = { name: 'p', protocol: 'TCP', port: 1666 } as const
    lab.tables.setPort(portState('a/same/p', '10.96.0.2', [`${server.ip}:8080@node2`], { port }))
    lab.tables.synced()
    await startEnvoy()
    await overlay(true)
  })
  after(() => lab?.destroy())

  for (const [family, vip] of [
    ['IPv4', '10.96.0.1'],
    ['IPv6', 'fd00:96::1'],
  ] as const) {
    test(`Envoy gets a pod's connection over ${family} with the VIP as its own address and the pod's as the other`, async () => {
      const address = family === 'IPv4' ? client.ip : client.ip6
      assert.equal(await lab.connect(client.netns, vip, 80), `envoy ${vip} 80 ${address}`)
    })

    test(`Envoy gets a connection of the node's own processes over ${family}, and its own go to the endpoint`, async () => {
      assert.match(await lab.connect(lab.node.netns, vip, 80), new RegExp(`^envoy ${vip} 80 `))
      const target = family === 'IPv4' ? server.ip : server.ip6
      assert.match(await lab.connect(lab.node.netns, target, 8080, '-m', '0x1000'), /^server /)
      assert.doesNotMatch(await lab.connect(lab.node.netns, vip, 80, '-m', '0x1000'), /^envoy /)
    })

    test(`Envoy gets a pod's connection over ${family} where others have routing rules for the pod before those of main`, async () => {
      const flag = family === 'IPv4' ? '-4' : '-6'
      const address = family === 'IPv4' ? client.ip : client.ip6
      // As AWS VPC CNI, Cilium's ENI mode and a VRF have them.
      for (const rule of [
        ['priority', '512', 'to', address, 'lookup', 'main'],
        ['priority', '20', 'to', address, 'lookup', 'main'],
        ['priority', '111', 'from', address, 'lookup', 'main'],
        ['priority', '10', 'iif', client.hostLink, 'lookup', 'main'],
        ['priority', '1000', 'l3mdev'],
      ]) {
        await lab.onNode('ip', flag, 'rule', 'add', ...rule)
        assert.equal(await lab.connect(client.netns, vip, 80), `envoy ${vip} 80 ${address}`)
        await lab.onNode('ip', flag, 'rule', 'del', ...rule)
      }
    })

    test(`The port of Envoy refuses who connects to it directly over ${family}`, async () => {
      const address = family === 'IPv4' ? lab.node.address : lab.node.address6
      assert.equal(await lab.connect(client.netns, address, 1666), 'ECONNREFUSED')
      assert.equal(await lab.connect(lab.network.fabric, address, 1666), 'ECONNREFUSED')
      assert.equal(await lab.connect(lab.node.netns, address, 1666), 'ECONNREFUSED')
    })

    test(`A process that takes the port of a dead Envoy gets no connection of the node's processes over ${family}`, async () => {
      envoy.kill('SIGKILL')
      await envoy.exited
      assert.equal(await lab.connect(lab.node.netns, vip, 80), 'ECONNREFUSED')
      const impostor = await lab.spawn(lab.node.netns, ['serve', 'impostor', 'tcp', '1666'])
      assert.equal(await lab.connect(lab.node.netns, vip, 80), 'ECONNREFUSED')
      impostor.kill('SIGKILL')
      await impostor.exited
      await startEnvoy()
      assert.match(await lab.connect(lab.node.netns, vip, 80), /^envoy /)
    })

    test(`A connection of the node itself from the number of Envoy's port is answered over ${family}`, async () => {
      envoy.kill('SIGKILL')
      await envoy.exited
      const target = family === 'IPv4' ? server.ip : server.ip6
      assert.match(await lab.connect(lab.node.netns, target, 8080, '-p', '1666'), /^server /)
      await startEnvoy()
    })

    test(`When Envoy is killed, a pod's very next connection over ${family} takes the kernel layer`, async () => {
      const address = family === 'IPv4' ? client.ip : client.ip6
      const proxied = await holdConnection(client.netns, vip, 80)
      assert.match(proxied.greeting!, /^envoy /)
      envoy.kill('SIGKILL')
      await envoy.exited
      assert.equal(await lab.connect(client.netns, vip, 80), `server ${address}`)
      assert.match((await proxied.say('still there?'))!, /^(ECONNRESET|closed)$/)
      const kernel = await holdConnection(client.netns, vip, 80)
      await startEnvoy()
      assert.equal(await lab.connect(client.netns, vip, 80), `envoy ${vip} 80 ${address}`)
      assert.equal(await kernel.say('undisturbed'), 'undisturbed')
      proxied.close()
      kernel.close()
    })

    test(`A connection over ${family} stays with Envoy when its Service leaves the overlay, and in the kernel when it comes back`, async () => {
      const proxied = await holdConnection(client.netns, vip, 80)
      await overlay(false)
      const kernel = await holdConnection(client.netns, vip, 80)
      assert.match(kernel.greeting!, /^server /)
      assert.equal(await proxied.say('one'), 'one')
      await overlay(true)
      assert.equal(await kernel.say('two'), 'two')
      assert.equal(await proxied.say('three'), 'three')
      proxied.close()
      kernel.close()
    })

    test(`A first packet over ${family} that Envoy has not answered is Envoy's when it is repeated, also when its Service has left the overlay`, async () => {
      envoy.kill('SIGKILL')
      await envoy.exited
      await startEnvoy('1')
      const answers = await lab.connectUnanswered(client.netns, vip, envoy)
      await overlay(false)
      envoy.kill('SIGCONT')
      const address = family === 'IPv4' ? client.ip : client.ip6
      for (const answer of answers) assert.equal(await answer, `envoy ${vip} 80 ${address}`)
      await overlay(true)
    })
  }

  test('A first packet that an endpoint has not answered is for that endpoint when it is repeated, also when its Service has been promoted', async () => {
    const slow = await lab.spawn(server.netns, ['serve', 'slow', 'tcp', '8081', '1'])
    lab.tables.setPort(portState('a/slow/http', '10.96.0.3', [`${server.ip}:8081@node2`]))
    await lab.tables.settled()
    const answers = await lab.connectUnanswered(client.netns, '10.96.0.3', slow)
    lab.tables.setOverlay([{ ip: '10.96.0.3', port: 80 }], true)
    await lab.tables.settled()
    slow.kill('SIGCONT')
    for (const answer of answers) assert.equal(await answer, `slow ${client.ip}`)
    lab.tables.removePort('a/slow/http')
    await lab.tables.settled()
  })

  test('Envoy gets connections of a pod on a bridge, and the kernel layer does while Envoy is dead', async () => {
    const pod = await lab.network.addPod('node1', 'bridged')
    const sysctl = (name: string) => lab.onNode('sysctl', '-qw', name)
    await lab.onNode('ip', 'link', 'add', 'bridge', 'address', 'ee:ee:ee:ee:ee:ee', 'type', 'bridge')
    await sysctl('net.ipv4.conf.bridge.proxy_arp=1')
    await sysctl('net.ipv6.conf.bridge.accept_dad=0')
    for (const address of ['169.254.1.1/32', 'fd00:9::1/128']) {
      await lab.onNode('ip', 'address', 'add', address, 'dev', 'bridge')
    }
    await lab.onNode('ip', 'link', 'set', 'bridge', 'up')
    await lab.onNode('ip', 'link', 'set', pod.hostLink, 'master', 'bridge')
    await lab.onNode('ip', 'route', 'replace', pod.ip, 'dev', 'bridge')
    await lab.onNode('ip', '-6', 'route', 'replace', pod.ip6, 'dev', 'bridge')
    for (const through of [1, 0]) {
      await sysctl(`net.bridge.bridge-nf-call-iptables=${through}`)
      await sysctl(`net.bridge.bridge-nf-call-ip6tables=${through}`)
      assert.equal(await lab.connect(pod.netns, '10.96.0.1', 80), `envoy 10.96.0.1 80 ${pod.ip}`)
      assert.equal(await lab.connect(pod.netns, 'fd00:96::1', 80), `envoy fd00:96::1 80 ${pod.ip6}`)
    }
    envoy.kill('SIGKILL')
    await envoy.exited
    for (const vip of ['10.96.0.1', 'fd00:96::1']) assert.match(await lab.connect(pod.netns, vip, 80), /^server /)
    await startEnvoy()
  })

  test('What goes to the listener that Service ports share comes to the next port, and nothing else does', async () => {
    envoy.kill('SIGKILL')
    await envoy.exited
    const shared = await lab.spawn(lab.node.netns, ['transparent', '1667'])
    for (const [vip, pod, address] of [
      ['10.96.0.1', client.ip, lab.node.address],
      ['fd00:96::1', client.ip6, lab.node.address6],
    ] as const) {
      const share = (isShared: boolean) => {
        lab.tables.setOverlay([{ ip: vip, port: 80, isShared }], true)
        return lab.tables.settled()
      }
      await share(true)
      assert.equal(await lab.connect(client.netns, vip, 80), `envoy ${vip} 80 ${pod}`)
      assert.match(await lab.connect(lab.node.netns, vip, 80), new RegExp(`^envoy ${vip} 80 `))
      for (const netns of [client.netns, lab.network.fabric, lab.node.netns])
        assert.equal(await lab.connect(netns, address, 1667), 'ECONNREFUSED')
      await share(false)
      assert.match(await lab.connect(client.netns, vip, 80), /^server /)
    }
    shared.kill('SIGKILL')
    await shared.exited
    await startEnvoy()
    assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^envoy /)
  })

  test('A Service on the port of Envoy itself works', async () => {
    assert.match(await lab.connect(client.netns, '10.96.0.2', 1666), /^server /)
    lab.tables.setOverlay([{ ip: '10.96.0.2', port: 1666 }], true)
    await lab.tables.settled()
    assert.match(await lab.connect(client.netns, '10.96.0.2', 1666), /^envoy 10\.96\.0\.2 1666 /)
  })

  test("A pod's connection to port 1666 of another host is none of Envoy's", async () => {
    await lab.spawn(server.netns, ['serve', 'elsewhere', 'tcp', '1666'])
    assert.match(await lab.connect(client.netns, server.ip, 1666), /^elsewhere /)
  })

  test('With the agent dead, the switch takes the node down to the kernel layer and back', async () => {
    await lab.tables.close()
    const nft = new Nftables(lab.options.netns)
    assert.equal(await readOverlaySwitch(nft, both), true)
    const proxied = await holdConnection(client.netns, '10.96.0.1', 80)
    for (let twice = 0; twice < 2; twice++) await setOverlaySwitch(nft, both, false)
    assert.equal(await readOverlaySwitch(nft, both), false)
    for (const vip of ['10.96.0.1', 'fd00:96::1']) {
      assert.match(await lab.connect(client.netns, vip, 80), /^server /)
      assert.match(await lab.connect(lab.node.netns, vip, 80), /^server /)
    }
    assert.equal(await proxied.say('goes on'), 'goes on')
    proxied.close()
    for (let twice = 0; twice < 2; twice++) await setOverlaySwitch(nft, both, true)
    assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^envoy /)
    assert.match(await lab.connect(lab.node.netns, 'fd00:96::1', 80), /^envoy /)
  })

  test('The overlay is emptied at once', async () => {
    lab.tables = lab.createTables()
    assert.equal((await lab.tables.start()).length, 3)
    lab.tables.clearOverlay()
    await lab.tables.settled()
    assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^server /)
    assert.match(await lab.connect(lab.node.netns, 'fd00:96::1', 80), /^server /)
  })
})
