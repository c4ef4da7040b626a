/** What `verify` reads in the kernel: tables as kube-proxy's, written by nft, and our own. */

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { familyNames } from '../../../src/kernel/family.ts'
import { Nftables } from '../../../src/kernel/nftables/client.ts'
import { planRuleset } from '../../../src/kernel/nftables/render.ts'
import { tableOf } from '../../../src/kernel/nftables/rules/ruleset.ts'
import { type NftTable, readTable } from '../../../src/kernel/nftables/snapshot.ts'
import { testOptions } from '../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import { run, runIn } from '../../../src/lab/processes.ts'
import { compareFrontends, type Difference } from '../../../src/verify/compare.ts'
import { missingEntrances } from '../../../src/verify/entrances.ts'
import { readKubeProxy } from '../../../src/verify/kube-proxy.ts'
import { readLightpath } from '../../../src/verify/lightpath.ts'
import { compareWithKubeProxy } from '../../../src/verify/node.ts'
import { expectedFrontends } from '../../../src/verify/wanted.ts'
import { needsRoot } from '../kernel/lab.ts'
import { endpoint, entrances, many, type PortRules, states, sticky, tableOfOnePort } from './verify-tables.ts'

const netns = `lp-verify-${process.pid}`

const options = {
  ...testOptions,
  ...{ families: ['IPv4'] as const, clusterCidr: ['10.244.0.0/16'], nodeportAddresses: ['0.0.0.0/0'] },
}
const facts = { node: undefined, serviceRanges: ['10.96.0.0/16'] }

describe('What verify reads of the kernel', needsRoot, () => {
  let nft: Nftables
  before(() => run('ip', ['netns', 'add', netns]))
  after(() => run('ip', ['netns', 'delete', netns]))
  beforeEach(() => {
    nft = new Nftables(netnsPath(netns))
  })
  afterEach(async () => {
    nft.close()
    await runIn(netns, 'nft', ['flush', 'ruleset'])
  })

  /** The table kube-proxy of this text. */
  async function load(text: string): Promise<NftTable> {
    const { code, stderr } = await runIn(netns, 'nft', ['-f', '-'], { input: `flush ruleset\n${text}` })
    assert.equal(code, 0, stderr)
    return (await readTable(nft, { family: 'ip', name: 'kube-proxy' }))!
  }

  /** The parts of a table that lead to one Service port, with these rules in its chains. */
  async function loadFrontends(rules: PortRules): Promise<NftTable> {
    return await load(tableOfOnePort(rules))
  }

  function frontendsOf(table: NftTable) {
    const frontends = readKubeProxy(table, 'IPv4')
    return { cluster: frontends.get('10.96.0.1:80/TCP')!, external: frontends.get('192.0.2.1:80/TCP')! }
  }

  const frontend = async (rules: Parameters<typeof loadFrontends>[0]) => frontendsOf(await loadFrontends(rules))

  describe('what kube-proxy has', () => {
    test('protocols may be names or numbers, and an unnamed port goes by its number', async () => {
      const { cluster, external } = await frontend({ service: 'meta l4proto 6 dnat to 10.1.0.1:8080' })
      assert.deepEqual([cluster.service, cluster.port, external.port], ['shop/web', '80', '80'])
      assert.deepEqual(cluster.endpoints.pods, ['10.1.0.1:8080'])
      assert.deepEqual(cluster.oddities, [])
    })
    test('endpoints of a map are in order, in the words of older and newer nft', async () => {
      for (const dnat of [many, many.replace('dnat ip to', 'dnat ip addr . port to')]) {
        const { cluster } = await frontend({ service: `meta l4proto tcp ${dnat}` })
        assert.deepEqual([cluster.endpoints.external, cluster.oddities], [['10.1.0.1:80', '10.1.0.2:80'], []])
      }
    })
    test('affinity is as long as its set says', async () => {
      const { cluster } = await frontend(sticky)
      assert.deepEqual([cluster.affinitySeconds, cluster.oddities], [93_784, []])
    })
    test('clients inside of the cluster may be led elsewhere than those outside', async () => {
      const rules = [
        'ip saddr 10.1.0.0/16 goto service-ABCDEFGH-shop/web/tcp/ comment "short-circuit pod traffic"',
        'fib saddr type local meta mark set meta mark | 0x00004000 comment "masquerade local traffic"',
      ]
      const { external } = await frontend({ service: `meta l4proto tcp ${many}`, external: rules.join('\n') })
      assert.deepEqual(external.endpoints, { external: [], pods: ['10.1.0.1:80', '10.1.0.2:80'], node: [] })
      assert.deepEqual([external.masquerade, external.oddities], ['node', []])
    })
  })

  const odd: readonly (readonly [title: string, rules: Parameters<typeof frontend>[0], oddity: RegExp])[] = [
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
  ]
  for (const [title, rules, oddity] of odd) {
    test(`${title} does not pass as understood`, async () =>
      assert.match((await frontend(rules)).cluster.oddities.join('\n'), oddity))
  }

  test('a goto to a chain that does not exist does not pass as understood', async () => {
    const table = await loadFrontends({ service: `numgen random mod 1 vmap { 0 : goto ${endpoint} }` })
    const chains = new Map(table.chains)
    chains.delete(endpoint)
    assert.match(frontendsOf({ ...table, chains }).cluster.oddities.join('\n'), /is missing$/)
  })

  test('a rule for all clients but some does not pass as one for pods', async () => {
    const rule = 'ip saddr != 10.1.0.0/16 goto service-ABCDEFGH-shop/web/tcp/'
    const { external } = await frontend({ service: `meta l4proto tcp ${many}`, external: rule })
    assert.deepEqual([external.oddities, external.endpoints.pods], [[rule], []])
  })

  test('a table without its base chains lacks them', async () => {
    const table = await load('table ip kube-proxy {\n chain services {\n }\n}')
    assert.ok(missingEntrances(table).includes('nat-prerouting'))
  })

  test('a table with all its entrances lacks none, and each one that is gone', async () => {
    const table = await load(entrances())
    assert.deepEqual(missingEntrances(table), [])
    for (const [name, chain] of table.chains) {
      for (const [index] of chain.rules.entries()) {
        const chains = new Map([...table.chains, [name, { ...chain, rules: chain.rules.toSpliced(index, 1) }]])
        const isEntrance = !(name === 'cluster-ips-check' && index === 1) && !(name === 'services' && index === 0)
        assert.deepEqual(missingEntrances({ ...table, chains }), isEntrance ? [name] : [])
      }
    }
  })

  test('a jump that asks for something beside is no entrance', async () => {
    const asking = entrances().replace(
      'ct state new jump firewall-check',
      'ip saddr 10.0.0.1 ct state new jump firewall-check',
    )
    assert.deepEqual(missingEntrances(await load(asking)), ['filter-prerouting-pre-dnat'])
  })

  test('pods, node ports and cluster IPs are as the options say, in whatever words', async () => {
    const differences = async (text: string, more: Partial<typeof options> = {}) => {
      const found = compareWithKubeProxy(await load(text), 'IPv4', facts, { ...options, ...more })
      return found.map(({ what, found, expected }) => `${what}: ${found} | ${expected}`)
    }
    assert.deepEqual(await differences(entrances()), [])
    assert.deepEqual(await differences(entrances('ip saddr != 10.0.0.0/12'), { clusterCidr: ['10.0.0.0/12'] }), [])
    const byName = { detectLocalMode: 'InterfaceNamePrefix', podInterfaceNamePrefix: 'veth' } as const
    assert.deepEqual(await differences(entrances('iifname != "veth*"'), byName), [])
    assert.deepEqual(await differences(entrances(''), { masqueradeAll: true }), [])
    assert.deepEqual(await differences(entrances('ip saddr @cluster-ips')), [
      'how pods are told: ip saddr @cluster-ips | 10.244.0.0/16',
    ])
    assert.deepEqual(await differences(entrances(undefined, '{ 10.96.0.0/17, 10.97.0.0/16 }')), [
      'dropped unless a Service has it: 10.96.0.0/17,10.97.0.0/16 | 10.96.0.0/16',
    ])
  })

  test('What was written of Services of all kinds is what they are to be, and what somebody changes in it is found', async () => {
    const operations = planRuleset(states, undefined, { ...testOptions, ownsClusterIPs: false })
    await nft.apply(operations)
    const differences = async () => {
      const here = { name: testOptions.nodeName, addresses: [], tellsPods: [] }
      const found: Difference[] = []
      for (const family of ['IPv4', 'IPv6'] as const) {
        const table = (await readTable(nft, tableOf(familyNames[family])))!
        found.push(
          ...compareFrontends(readLightpath(table, family), expectedFrontends(states, [family], here, 'lightpath')),
        )
      }
      return found.map(({ frontend, what, found }) => `${frontend} ${what}: ${found}`)
    }
    assert.deepEqual(await differences(), [])
    const chain = 'affinity-10.0.0.3-tcp-80'
    const commands = [
      'delete element ip lightpath endpoints-tcp { 10.0.0.1 . 80 . 1 }',
      'delete element ip lightpath services { 192.0.2.1 . tcp . 80 }',
      `flush chain ip lightpath ${chain}`,
      `add rule ip lightpath ${chain} meta l4proto tcp dnat to 10.1.0.9:80`,
      `add rule ip lightpath ${chain} meta l4proto udp dnat to 10.1.0.1:80`,
      'delete element ip6 lightpath no-endpoints { fd00::2 . tcp . 80 }',
    ]
    const { code, stderr } = await runIn(netns, 'nft', [commands.join('; ')])
    assert.equal(code, 0, stderr)
    assert.deepEqual(await differences(), [
      '192.0.2.1:80/TCP the frontend: none',
      '10.0.0.1:80/TCP endpoints: 10.1.0.1:80',
      '10.0.0.1:80/TCP rules not understood: 1 of 2 slots are empty',
      '10.0.0.3:80/TCP endpoints: ',
      '10.0.0.3:80/TCP replaced towards itself: ',
      '10.0.0.3:80/TCP rules not understood: meta l4proto udp dnat to 10.1.0.1:80,its rules lead to different endpoints',
      '10.0.0.3:80/TCP session affinity: none',
      '[fd00::2]:80/TCP the frontend: none',
    ])
  })
})
