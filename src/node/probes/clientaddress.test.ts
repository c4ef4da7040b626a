import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Link } from '../../kernel/netlink/route/links.ts'
import { findObstacle, podNetwork } from '../../kernel/system/routing/podnetwork.ts'
import { bootstrapProblems } from './clientaddress.ts'

const link = (name: string, index: number, kind?: string, master?: string): Link => ({ index, name, kind, master })
const veth = (name: string, index: number, master?: string) => link(name, index, 'veth', master)
const route = (destination: string | undefined, length: number, interfaceIndex: number, hasGateway = false) => {
  const family = destination?.includes(':') ? 'IPv6' : 'IPv4'
  return { family, destination, length, interfaceIndex, hasGateway } as const
}

const routes = [route(undefined, 0, 2, true), route('10.244.1.10', 32, 3), route('10.244.2.0', 24, 2, true)]
const routed = podNetwork([veth('cali1', 3)], routes)

describe('--client-address auto', () => {
  test('finds no obstacle where a pod is routed, on a kernel that can', () => {
    assert.equal(findObstacle('6.18.44', routed), undefined)
  })

  const bridged = podNetwork([veth('cali1', 3), veth('veth2', 4, 'cni0')], routes)
  const byInterface = podNetwork([veth('cali1', 3)], routes, [
    { incoming: undefined, text: '0:\tfrom all lookup local' },
    { incoming: 'lo', text: '9:\tfrom all iif lo lookup 9' },
    { incoming: 'vlan.eth.1', text: '10:\tfrom all iif vlan.eth.1 lookup 101' },
  ])
  const cilium = podNetwork([veth('cali1', 3), link('cilium_host', 5)], routes)
  for (const [what, release, pods, reason] of [
    ['a kernel without IP_LOCAL_PORT_RANGE', '6.1.0', routed, /Linux 6\.1\.0/],
    ['one pod on a bridge', '6.18.44', bridged, /on a bridge \(cni0\)/],
    ['a data plane in eBPF', '6.18.44', cilium, /eBPF .*cilium_host/],
    ['rules for where packets come in', '6.18.44', byInterface, /iif vlan\.eth\.1/],
    ['no pod so far', '6.18.44', podNetwork([], []), /there is no pod/],
  ] as const) {
    test(`is against it with ${what}, and says so`, () => {
      assert.match(findObstacle(release, pods)!, reason)
    })
  }
})

test('a pod’s interface is a veth of its own with a host route, of either family, and not one of our tests', () => {
  const links = [
    ...[veth('a', 1), veth('b', 2), veth('c', 3), veth('d', 4, 'cni0'), veth('lightpath1', 5)],
    link('eth0', 6),
  ]
  const found = podNetwork(links, [
    route('10.1.0.1', 32, 1),
    route('fd00::2', 128, 2),
    route('fe80::', 64, 3),
    route('fe80::7', 128, 3),
    route('10.1.0.4', 32, 4),
    route('198.18.16.67', 32, 5),
    route('10.1.0.6', 32, 6),
  ])
  assert.deepEqual(found, { routed: ['a', 'b'], bridges: ['cni0'], programs: [], interfaceRules: [] })
})

test('a bootstrap that does not fit is a problem; one for preserve fits whatever was decided', () => {
  const auto = { setting: 'auto', mode: 'forwarded-for', why: '' } as const
  const preserve = { setting: 'preserve', mode: 'preserve', why: '' } as const
  const forwarded = { setting: 'forwarded-for', mode: 'forwarded-for', why: '' } as const
  const found = (choice: typeof auto | typeof preserve | typeof forwarded) =>
    (['preserve', 'forwarded-for'] as const).map(bootstrap => bootstrapProblems(choice, 'node1', bootstrap).length)
  assert.deepEqual(
    [found(auto), found(preserve), found(forwarded)],
    [
      [0, 0],
      [0, 1],
      [0, 0],
    ],
  )
})
