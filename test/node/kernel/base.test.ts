/** The kernel layer with real nftables and real traffic. */

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import { KernelLab, needsRoot } from './lab.ts'

const udp = { port: { name: 'dns', protocol: 'UDP', port: 53 } } as const
const sctp = { port: { name: 'sig', protocol: 'SCTP', port: 9 } } as const

describe('The kernel layer', needsRoot, () => {
  let lab: KernelLab
  let near: Pod
  let far: Pod
  let client: Pod

  const web = (...pods: Pod[]) => portState('a/web/http', '10.96.0.1', at(pods, 'ip', ':8080'))
  const web6 = (...pods: Pod[]) => portState('a/web/http/IPv6', 'fd00:96::1', at(pods, 'ip6', ' 8080'))
  const dns = (...pods: Pod[]) => portState('a/dns/dns', '10.96.0.2', at(pods, 'ip', ':5353'), udp)
  const dns6 = (...pods: Pod[]) => portState('a/dns/dns/IPv6', 'fd00:96::2', at(pods, 'ip6', ' 5353'), udp)
  const at = (pods: Pod[], address: 'ip' | 'ip6', port: string) => pods.map(pod => `${pod[address]}${port}@${pod.node}`)

  async function set(state: PortState): Promise<void> {
    lab.tables.setPort(state)
    await lab.tables.settled()
  }

  before(async () => {
    lab = await KernelLab.create()
    near = await lab.addServer('node1', 'near')
    far = await lab.addServer('node2', 'far')
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    for (const state of [web(near, far), web6(near, far), dns(far), dns6(far)]) lab.tables.setPort(state)
    lab.tables.setPort(portState('a/sig/sig', '10.96.0.3', [`${far.ip}:9`], sctp))
    lab.tables.synced()
    await lab.tables.settled()
  })
  after(() => lab?.destroy())

  test('nft accepts all of it, SCTP too', async () => {
    assert.deepEqual([...lab.problems], [])
    const services = await lab.onNode('nft', 'list', 'map', 'ip', 'lightpath', 'services')
    assert.match(services, /10\.96\.0\.3 \. sctp \. 9 : goto endpoints-sctp-1/)
    const chain = await lab.onNode('nft', 'list', 'chain', 'ip', 'lightpath', 'endpoints-sctp-1')
    assert.match(chain, /dnat ip to ip daddr \. sctp dport .* map @endpoints-sctp/)
  })

  for (const [family, vip] of [
    ['IPv4', '10.96.0.1'],
    ['IPv6', 'fd00:96::1'],
  ] as const) {
    test(`TCP over ${family} comes out at every endpoint, and the client keeps its address`, async () => {
      const seen = new Set<string>()
      for (let n = 0; n < 30 && seen.size < 2; n++) seen.add(await lab.connect(client.netns, vip, 80))
      const address = family === 'IPv4' ? client.ip : client.ip6
      assert.deepEqual([...seen].toSorted(), [`far ${address}`, `near ${address}`])
    })

    test(`A process of the node reaches a Service over ${family}`, async () => {
      assert.match(await lab.connect(lab.node.netns, vip, 80), /^(near|far) /)
    })

    test(`UDP over ${family} is answered`, async () => {
      const [ip, address] = family === 'IPv4' ? ['10.96.0.2', client.ip] : ['fd00:96::2', client.ip6]
      assert.equal(await lab.ask(client.netns, 'ask', ip, '53', '40000'), `far ${address}`)
    })

    test(`A pod reaches itself through its own Service over ${family}`, async () => {
      lab.tables.setPort(family === 'IPv4' ? web(near) : web6(near))
      await lab.tables.settled()
      assert.match(await lab.connect(near.netns, vip, 80), /^near /)
      lab.tables.setPort(family === 'IPv4' ? web(near, far) : web6(near, far))
      await lab.tables.settled()
    })

    test(`A Service without endpoints refuses at once over ${family}, pods and the node's own processes`, async () => {
      const empty = family === 'IPv4' ? web() : web6()
      lab.tables.setPort(empty)
      await lab.tables.settled()
      assert.equal(await lab.connect(client.netns, vip, 80), 'ECONNREFUSED')
      assert.equal(await lab.connect(lab.node.netns, vip, 80), 'ECONNREFUSED')
      lab.tables.setPort(family === 'IPv4' ? web(near, far) : web6(near, far))
      await lab.tables.settled()
      assert.match(await lab.connect(client.netns, vip, 80), /^(near|far) /)
    })
  }

  for (const vip of ['10.96.0.1', 'fd00:96::1']) {
    test(`A port that the Service of ${vip} does not have is refused at once, to pods and the node's own processes`, async () => {
      assert.equal(await lab.connect(client.netns, vip, 8443), 'ECONNREFUSED')
      assert.equal(await lab.connect(lab.node.netns, vip, 8443), 'ECONNREFUSED')
      assert.equal(await lab.ask(client.netns, 'ask', vip, '8443', '40010'), 'ECONNREFUSED')
      assert.match(await lab.connect(client.netns, vip, 80), /^(near|far) /)
    })
  }

  test('An address of the Service range that no Service has is dropped, and Services in it work', async () => {
    lab.tables.setServiceRanges(['10.96.0.0/16', '10.96.128.0/17', 'fd00:96::/112'])
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
    assert.equal(await lab.connect(client.netns, '10.96.77.7', 80), 'timeout')
    assert.equal(await lab.connect(lab.node.netns, 'fd00:96::7777', 80), 'timeout')
    assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^(near|far) /)
    assert.match(await lab.connect(client.netns, 'fd00:96::1', 80), /^(near|far) /)
    lab.tables.setServiceRanges([])
    await lab.tables.settled()
  })

  test('A Service whose endpoints are all elsewhere drops', async () => {
    lab.tables.setPort({ ...web(), noLocalEndpoints: true })
    await lab.tables.settled()
    assert.equal(await lab.connect(client.netns, '10.96.0.1', 80), 'timeout')
    lab.tables.setPort(web(near, far))
    await lab.tables.settled()
  })

  test('A UDP client with a fixed port follows when its endpoint is gone', async () => {
    const ask = () => lab.ask(client.netns, 'ask', '10.96.0.2', '53', '40001')
    assert.equal(await ask(), `far ${client.ip}`)
    lab.tables.setPort(dns(near))
    await lab.tables.settled()
    assert.equal(await ask(), `near ${client.ip}`)
    lab.tables.setPort(dns())
    await lab.tables.settled()
    assert.equal(await ask(), 'ECONNREFUSED')
    lab.tables.setPort(dns(far))
    await lab.tables.settled()
    assert.equal(await ask(), `far ${client.ip}`)
  })

  test('A UDP client stays where it is while other endpoints come and go', async () => {
    const entries = () => lab.onNode('conntrack', '-L', '-p', 'udp', '--orig-dst', '10.96.0.2')
    const ask = () => lab.ask(client.netns, 'ask', '10.96.0.2', '53', '40002')
    assert.equal(await ask(), `far ${client.ip}`)
    lab.tables.setPort(dns(far, near))
    await lab.tables.settled()
    assert.match(await entries(), /sport=40002 .* src=10\.244\.2\./)
    lab.tables.setPort(dns(far))
    await lab.tables.settled()
    assert.match(await entries(), /sport=40002 .* src=10\.244\.2\./)
  })

  test('A UDP client stays while its endpoint answers, though another is chosen for new ones', async () => {
    const ask = (source: string) => lab.ask(client.netns, 'ask', '10.96.0.2', '53', source)
    await set(dns(far))
    assert.equal(await ask('40003'), `far ${client.ip}`)
    await set({ ...dns(near), servingEndpoints: dns(near, far).endpoints })
    assert.equal(await ask('40003'), `far ${client.ip}`)
    assert.equal(await ask('40004'), `near ${client.ip}`)
    await set(dns(near))
    assert.equal(await ask('40003'), `near ${client.ip}`)
  })

  test('A UDP client stays while its endpoint answers, though another port of the same address went', async () => {
    const entry = (port: number, source: string) => {
      const to = [
        '-p',
        'udp',
        '-s',
        client.ip,
        '-d',
        '10.96.0.2',
        '--sport',
        source,
        '--dport',
        '53',
        '-r',
        far.ip,
        '-q',
        client.ip,
      ]
      const reply = ['--reply-port-src', `${port}`, '--reply-port-dst', source, '-t', '300']
      return lab.onNode('conntrack', '-I', ...to, ...reply, '-u', 'SEEN_REPLY')
    }
    const entries = () => lab.onNode('conntrack', '-L', '-p', 'udp', '--orig-dst', '10.96.0.2')
    const endpoints = [5353, 5354].map(port => ({ ...dns(far).endpoints[0]!, port }))
    await set({ ...dns(far), endpoints, servingEndpoints: endpoints })
    await entry(5353, '40011')
    await entry(5354, '40012')
    await set(dns(far))
    assert.match(await entries(), /sport=40011 /)
    assert.doesNotMatch(await entries(), /sport=40012 /)
  })

  test('A UDP client follows when its endpoint went while no agent was there', async () => {
    const ask = () => lab.ask(client.netns, 'ask', 'fd00:96::2', '53', '40005')
    await set(dns6(far))
    assert.equal(await ask(), `far ${client.ip6}`)
    await lab.tables.close()
    lab.tables = lab.createTables()
    await lab.tables.start()
    for (const state of [web(near, far), web6(near, far), dns(near), dns6(near)]) lab.tables.setPort(state)
    lab.tables.synced()
    await lab.tables.settled()
    assert.equal(await ask(), `near ${client.ip6}`)
  })

  test('A steady UDP stream from one socket goes on when its endpoint is replaced', async () => {
    await set(dns(far))
    const stream = await lab.spawn(client.netns, ['stream', '10.96.0.2', '53', '40006'])
    const lines = createInterface(stream.stdout!)[Symbol.asyncIterator]()
    const answered = async (by: string) => {
      for (let n = 0; n < 200; n++) if ((await lines.next()).value?.startsWith(`${by} `)) return
      assert.fail(`no answer of ${by}`)
    }
    await answered('far')
    await set(dns(near))
    await answered('near')
    stream.kill('SIGTERM')
  })

  test('5,000 endpoints of one Service work', async () => {
    const many = Array.from({ length: 4999 }, (_, n) => `10.200.${n >> 8}.${n & 255}:80@node2`)
    const state = portState('a/big/http', '10.96.0.9', [...many, `${far.ip}:8080@node2`])
    lab.tables.setPort(state)
    await lab.tables.settled()
    assert.deepEqual([...lab.problems], [])
    assert.equal(lab.flushes.at(-1)!.added, 5002)
    lab.tables.setPort({ ...state, endpoints: state.endpoints.slice(4999) })
    await lab.tables.settled()
    assert.match(await lab.connect(client.netns, '10.96.0.9', 80), /^far /)
  })
})
