import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { missingEntrances, readKubeProxy } from './kube-proxy.ts'
import { NftTableReader } from './testing.ts'

function parse(text: string) {
  const reader = new NftTableReader()
  for (const line of text.split('\n')) reader.line(line)
  return reader.table
}

/** The parts of a table that lead to one Service port, with these rules in its chains. */
function way({ service = '', endpoint = '', external = '' }) {
  const table = parse(`table ip kube-proxy {
    map service-ips {
      type ipv4_addr . inet_proto . inet_service : verdict
      elements = { 10.96.0.1 . 6 . 80 : goto service-ABCDEFGH-shop/web/tcp/,
                   192.0.2.1 . tcp . 80 : goto external-ABCDEFGH-shop/web/tcp/ }
    }
    set affinity-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080 {
      type ipv4_addr
      flags dynamic,timeout
      timeout 1d2h3m4s
      elements = { 10.1.0.9 timeout 1d2h3m4s expires 3h }
    }
    chain service-ABCDEFGH-shop/web/tcp/ {
      comment "of the Service"
      ${service}
    }
    chain endpoint-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080 {
      ${endpoint}
    }
    chain external-ABCDEFGH-shop/web/tcp/ {
      ${external}
    }
  }`)
  const ways = readKubeProxy(table, 'IPv4')
  return { cluster: ways.get('10.96.0.1:80/TCP')!, outside: ways.get('192.0.2.1:80/TCP')! }
}

const endpoint = 'endpoint-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080'
const affinity = '@affinity-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080'
const sticky = {
  service: `ip saddr ${affinity} goto ${endpoint}\n numgen random mod 1 vmap { 0 : goto ${endpoint} }`,
  endpoint: `update ${affinity} { ip saddr }\n meta l4proto 6 dnat to 10.1.0.1:8080`,
}
const many = 'dnat ip to numgen random mod 2 map { 0 : 10.1.0.2 . 80, 1 : 10.1.0.1 . 80 }'

describe('what kube-proxy has', () => {
  test('protocols may be names or numbers, and an unnamed port goes by its number', () => {
    const { cluster, outside } = way({ service: 'meta l4proto 6 dnat to 10.1.0.1:8080' })
    assert.deepEqual([cluster.service, cluster.port, outside.port], ['shop/web', '80', '80'])
    assert.deepEqual(cluster.endpoints.pods, ['10.1.0.1:8080'])
    assert.deepEqual(cluster.oddities, [])
  })
  test('endpoints of a map are in order, in the words of older and newer nft', () => {
    for (const dnat of [many, many.replace('dnat ip to', 'dnat ip addr . port to')]) {
      const { cluster } = way({ service: `meta l4proto tcp ${dnat}` })
      assert.deepEqual([cluster.endpoints.outside, cluster.oddities], [['10.1.0.1:80', '10.1.0.2:80'], []])
    }
  })
  test('affinity is as long as its set says', () => {
    const { cluster } = way(sticky)
    assert.deepEqual([cluster.affinitySeconds, cluster.oddities], [93_784, []])
  })
  test('clients inside of the cluster may be led elsewhere than those outside', () => {
    const external = [
      'ip saddr 10.1.0.0/16 goto service-ABCDEFGH-shop/web/tcp/ comment "short-circuit pod traffic"',
      'fib saddr type local meta mark set meta mark | 0x00004000 comment "masquerade local traffic"',
    ]
    const { outside } = way({ service: `meta l4proto tcp ${many}`, external: external.join('\n') })
    assert.deepEqual(outside.endpoints, { outside: [], pods: ['10.1.0.1:80', '10.1.0.2:80'], node: [] })
    assert.deepEqual([outside.masquerade, outside.oddities], ['node', []])
  })
})

const odd: readonly (readonly [title: string, rules: Parameters<typeof way>[0], oddity: RegExp])[] = [
  ['a rule of another shape', { service: 'counter packets 0 bytes 0 drop' }, /^counter packets/],
  ['a chain without rules', {}, /is empty$/],
  [
    'a slot without an endpoint',
    { service: `meta l4proto tcp ${many.replace('mod 2', 'mod 3')}` },
    /^3 slots, of which 2/,
  ],
  ['another protocol', { service: 'meta l4proto udp dnat to 10.1.0.1:8080' }, /^meta l4proto udp/],
  [
    'an endpoint that forgets its clients',
    { ...sticky, endpoint: 'meta l4proto tcp dnat to 10.1.0.1:80' },
    /not remember/,
  ],
  [
    'a goto to a chain that does not exist',
    { service: 'numgen random mod 1 vmap { 0 : goto endpoint-X }' },
    /is missing$/,
  ],
]
for (const [title, rules, oddity] of odd) {
  test(`${title} does not pass as understood`, () => assert.match(way(rules).cluster.oddities.join('\n'), oddity))
}

test('a table without its base chains lacks them', () => {
  assert.ok(missingEntrances(parse('table ip kube-proxy {\n chain services {\n }\n}')).includes('nat-prerouting'))
})
