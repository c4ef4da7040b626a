/** Rules, routes and what is told of their changes, with the real kernel; `ip` says the same. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { addVeth, deleteLink, listLinks } from '../../../../src/kernel/netlink/route/links.ts'
import { listRoutes, replaceRoute, routeTo } from '../../../../src/kernel/netlink/route/routes.ts'
import { addRule, deleteRule, listRules } from '../../../../src/kernel/netlink/route/rules.ts'
import { hasFilters, redirectIngress } from '../../../../src/kernel/netlink/route/tc.ts'
import { NetlinkSocket } from '../../../../src/kernel/netlink/socket.ts'
import { ensureRouting, removeRouting } from '../../../../src/kernel/system/routing/steering.ts'
import { netnsPath } from '../../../../src/lab/leftovers.ts'
import { createNetwork, type Network } from '../../../../src/lab/network.ts'
import { needsRoot } from '../lab.ts'

const ours = { steeringMark: 0x8000, envoyMark: 0x1000, masqueradeMark: 0x4000, routeTable: 1666, rulePriority: 5 }

describe('Routing by netlink', needsRoot, () => {
  let network: Network
  let netns: string
  let socket: NetlinkSocket
  const ip = (...args: readonly string[]) =>
    execFileSync('nsenter', [`--net=${netns}`, 'ip', ...args], { encoding: 'utf8' })
  const lines = (text: string) => text.split('\n').flatMap(line => (line.trim() === '' ? [] : [line.trim()]))

  before(async () => {
    network = await createNetwork({ nodes: 1 })
    await network.addPod('node1', 'pod', { host: 11 })
    netns = netnsPath(network.nodes[0]!.netns)
    socket = new NetlinkSocket('route', { netns })
  })
  after(async () => {
    socket?.close()
    await network?.destroy()
  })

  for (const [family, flag, source] of [
    ['IPv4', '-4', '10.0.0.0/8'],
    ['IPv6', '-6', 'fd00::/8'],
  ] as const) {
    test(`Rules of ${family} are listed as ip lists them`, () => {
      const rules = [
        ['priority', '50', 'fwmark', '0x10/0xf0', 'lookup', '100'],
        ['priority', '51', 'fwmark', '0x1', 'iif', 'lo', 'lookup', '5000'],
        ['priority', '52', 'not', 'from', source, 'to', source, 'oif', 'lo', 'unreachable'],
      ]
      for (const rule of rules) ip(flag, 'rule', 'add', ...rule)
      assert.deepEqual(
        listRules(socket, family).map(({ text }) => text),
        lines(ip(flag, 'rule', 'show')),
      )
      for (const rule of rules) ip(flag, 'rule', 'del', ...rule)
    })

    test(`A rule of ${family} is made once and deleted once`, () => {
      const rule = { family, priority: 60, table: 1000, mark: { value: 0x8000_0000, mask: 0x8000_0000 } }
      addRule(socket, rule)
      assert.throws(() => addRule(socket, rule), { code: 'EEXIST' })
      assert.match(ip(flag, 'rule', 'show'), /60:\tfrom all fwmark 0x80000000\/0x80000000 lookup 1000/)
      assert.equal(deleteRule(socket, rule), true)
      assert.equal(deleteRule(socket, rule), false)
    })
  }

  test('Our rule and route are made, mended and removed; those of others stay', () => {
    for (const [family, flag] of [
      ['ip', '-4'],
      ['ip6', '-6'],
    ] as const) {
      const before = ip(flag, 'rule', 'show')
      const state = () => [ip(flag, 'rule', 'show'), ip(flag, 'route', 'show', 'table', '1666')]
      assert.equal(ensureRouting(family, { ...ours, steeringMark: 0x2000, rulePriority: 7 }, netns), true)
      assert.equal(ensureRouting(family, ours, netns), true)
      assert.equal(ensureRouting(family, ours, netns), false)
      const made = state()
      assert.match(made[0]!, /5:\tfrom all fwmark 0x8000\/0xd000 lookup 1666/)
      assert.doesNotMatch(made[0]!, /0x2000/)
      assert.match(made[1]!, /^local default dev lo proto kernel/)
      ip(flag, 'route', 'flush', 'table', '1666')
      assert.equal(ensureRouting(family, ours, netns), true)
      assert.deepEqual(state(), made)
      assert.equal(removeRouting(family, ours, netns), true)
      assert.equal(removeRouting(family, ours, netns), false)
      assert.equal(ip(flag, 'rule', 'show'), before)
    }
    assert.deepEqual(listRoutes(socket, 'IPv4', 1666), [])
  })

  test('It is known how a packet would leave: to a pod, to this machine, to another, or not at all', () => {
    const pod = routeTo(socket, 'IPv4', '10.244.1.11')!
    assert.deepEqual([pod.type, pod.hasGateway], ['unicast', false])
    assert.equal(routeTo(socket, 'IPv6', 'fd00:30::11')!.type, 'local')
    assert.equal(routeTo(socket, 'IPv4', '192.0.2.1')!.hasGateway, true)
    for (const type of ['unreachable', 'prohibit', 'blackhole']) {
      for (const address of ['192.0.2.9', '2001:db8::9']) ip('route', 'add', type, address)
      assert.equal(routeTo(socket, 'IPv4', '192.0.2.9'), undefined, type)
      assert.equal(routeTo(socket, 'IPv6', '2001:db8::9'), undefined, type)
      for (const address of ['192.0.2.9', '2001:db8::9']) ip('route', 'del', address)
    }
    const { interfaceIndex } = pod
    replaceRoute(socket, {
      family: 'IPv4',
      table: 254,
      type: 'unicast',
      destination: '192.0.2.1',
      interfaceIndex: interfaceIndex!,
    })
    assert.equal(routeTo(socket, 'IPv4', '192.0.2.1')!.interfaceIndex, interfaceIndex)
    assert.match(ip('route', 'show', '192.0.2.1'), /^192\.0\.2\.1 dev \S+ scope link/)
  })

  test('Interfaces are listed with their kind and their bridge', () => {
    ip('link', 'add', 'bridge0', 'type', 'bridge')
    ip('link', 'set', 'pod11', 'master', 'bridge0')
    const links = listLinks(socket).map(({ name, kind, master }) => [name, kind, master])
    assert.deepEqual(links.filter(([name]) => ['lo', 'bridge0', 'pod11'].includes(name!)).toSorted(), [
      ['bridge0', 'bridge', undefined],
      ['lo', undefined, undefined],
      ['pod11', 'veth', 'bridge0'],
    ])
  })

  test('A pair of interfaces is made as ip would make it, with redirections as tc prints them, and deleted once', () => {
    addVeth(socket, ['one', 'other'], Buffer.from('020000001666', 'hex'))
    for (const name of ['one', 'other']) {
      const shown = ip('-details', 'link', 'show', name)
      assert.match(shown, /NOARP,UP,LOWER_UP/)
      assert.match(shown, /02:00:00:00:16:66/)
      assert.match(shown, /veth addrgenmode none/)
      assert.equal(ip('-6', 'address', 'show', 'dev', name), '')
    }
    const indexOf = (wanted: string) => listLinks(socket).find(({ name }) => name === wanted)!.index
    assert.equal(hasFilters(socket, indexOf('one')), false)
    redirectIngress(socket, indexOf('one'), [
      { family: 'IPv4', source: '10.1.2.3', to: indexOf('other') },
      { family: 'IPv6', source: 'fd00::1', destination: 'fd00::2', to: indexOf('other') },
    ])
    assert.equal(hasFilters(socket, indexOf('one')), true)
    assert.equal(hasFilters(socket, indexOf('other')), false)
    const tc = (...args: readonly string[]) =>
      execFileSync('nsenter', [`--net=${netns}`, 'tc', ...args], { encoding: 'utf8' })
    const made = tc('filter', 'show', 'dev', 'one', 'ingress')
    tc('qdisc', 'add', 'dev', 'other', 'clsact')
    const [action, head] = [
      ['action', 'mirred', 'ingress', 'redirect', 'dev', 'other'],
      ['filter', 'add', 'dev', 'other', 'ingress'],
    ]
    tc(...head, 'protocol', 'ip', 'prio', '1', 'u32', 'match', 'ip', 'src', '10.1.2.3/32', ...action)
    const both = ['match', 'ip6', 'src', 'fd00::1/128', 'match', 'ip6', 'dst', 'fd00::2/128']
    tc(...head, 'protocol', 'ipv6', 'prio', '2', 'u32', ...both, ...action)
    const withoutNumbers = (text: string) => text.replaceAll(/index \d+ ref \d+ bind \d+/g, '')
    assert.equal(withoutNumbers(made), withoutNumbers(tc('filter', 'show', 'dev', 'other', 'ingress')))
    assert.equal(deleteLink(socket, 'other'), true)
    assert.equal(deleteLink(socket, 'one'), false)
  })
})
