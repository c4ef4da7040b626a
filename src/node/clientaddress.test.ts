import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Link, podNetwork } from '../kernel/podnetwork.ts'
import { bootstrapProblems, findObstacle } from './clientaddress.ts'

const veth = (ifname: string, master?: string): Link => ({
  ifname,
  ...(master !== undefined && { master }),
  linkinfo: { info_kind: 'veth' },
})

const routes = [
  'default via 172.30.0.1 dev eth0 ',
  '10.244.1.10 dev cali1 scope link ',
  '10.244.2.0/24 via 172.30.0.12 dev eth0 ',
]
const routed = podNetwork([veth('cali1')], routes)

describe('--client-address auto', () => {
  test('finds nothing against it where a pod is routed, on a kernel that can', () => {
    assert.equal(findObstacle('6.18.44', routed), undefined)
  })

  const bridged = podNetwork([veth('cali1'), veth('veth2', 'cni0')], routes)
  const byInterface = podNetwork([veth('cali1')], routes, [
    '0:\tfrom all lookup local',
    '9:\tfrom all iif lo lookup 9',
    '10:\tfrom all iif vlan.eth.1 lookup 101',
  ])
  const cilium = podNetwork([veth('cali1'), { ifname: 'cilium_host' }], routes)
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
  const links = [veth('a'), veth('b'), veth('c'), veth('d', 'cni0'), veth('lightpath1'), { ifname: 'eth0' }]
  const found = podNetwork(links, [
    '10.1.0.1 dev a scope link',
    'fd00::2 dev b metric 1024 pref medium',
    'fe80::/64 dev c proto kernel metric 256 pref medium',
    '10.1.0.4 dev d scope link',
    '198.18.16.67 dev lightpath1 scope link',
    '10.1.0.6 dev eth0 scope link',
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
