import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Link } from '../kernel/netlink/route/links.ts'
import type { Rule } from '../kernel/netlink/route/rules.ts'
import { checkConntrack, checkMigration, checkPortRange } from './limits.ts'
import { checkEncryption, checkPodNetwork, cniTypes } from './network.ts'
import { checkKernel } from './programs.ts'
import { checkOrder, checkRules, checkTable } from './routing.ts'
import { checkForeignRules, foreignRules } from './ruleset.ts'

/** What is said of a ruleset, by name of the check. */
function ofRuleset(...lines: readonly string[]): ReadonlyMap<string, string> {
  const reader = foreignRules(0x9000)
  for (const line of lines) reader.onLine(line)
  const checks = checkForeignRules(reader.found(), '0x8000 or 0x1000', 'all')
  return new Map(checks.map(({ name, outcome, found }) => [name, `${outcome}: ${found}`]))
}

describe('rules of others', () => {
  const inChain = (rule: string) => ofRuleset('table ip cni {', '\tchain mark {', `\t\t${rule}`, '\t}', '}')
  for (const rule of [
    'meta mark & 0x00001000 == 0x00001000 accept',
    'meta mark set meta mark | 0x00008000',
    'meta mark set 0x00001000',
    'meta mark 0x00008000 accept',
    'ct mark & 0x0000f000 == 0x00009000 drop',
    'meta mark set (meta mark & 0xffffffff) ^ 0x00001000',
  ]) {
    test(`that use a mark of ours are named: ${rule}`, () => {
      assert.equal(inChain(rule).get('marks in rules'), `fails: others use 0x8000 or 0x1000: ip cni mark: ${rule}`)
    })
  }

  for (const rule of [
    'meta mark & 0x00004000 == 0x00004000 masquerade',
    'meta mark set meta mark & 0xffffbfff',
    'meta mark & 0xffff0000 == 0x00010000 accept',
    'meta mark & 0x00001000 == 0x00000000 accept',
    'tcp dport 0x1000 accept',
  ]) {
    test(`that leave our marks alone do not count: ${rule}`, () => {
      assert.match(inChain(rule).get('marks in rules')!, /^ok/)
    })
  }

  test('of ours do not count, whatever they do', () => {
    const found = ofRuleset(
      'table ip lightpath {',
      '\tchain guard {',
      '\t\ttype filter hook input priority filter; policy drop;',
      '\t\tmeta mark & 0x00001000 == 0x00001000 accept',
      '\t}',
      '}',
    )
    assert.deepEqual(
      [...found.values()].filter(text => !text.startsWith('ok')),
      [],
    )
  })

  test('that drop at input or forward are named, with the firewall that they are of', () => {
    const hook = (name: string, policy: string) => `type filter hook ${name} priority filter; policy ${policy};`
    const found = ofRuleset(
      ...[
        'table ip filter {',
        'chain INPUT {',
        hook('input', 'drop'),
        '}',
        'chain OUTPUT {',
        hook('output', 'drop'),
        '}',
        '}',
      ],
      ...['table inet firewalld {', 'chain filter_FORWARD {', hook('forward', 'accept'), '}', '}'],
    )
    assert.equal(found.get('firewall'), 'warning: firewalld; policy drop in ip filter INPUT')
  })

  test('of a kube-proxy are no reason to worry where we serve labelled Services only', () => {
    const reader = foreignRules(0x9000)
    reader.onLine('table ip kube-proxy {')
    const checks = checkForeignRules(reader.found(), '', 'labelled')
    assert.equal(checks.find(({ name }) => name === 'kube-proxy')?.outcome, 'ok')
  })

  test('tell the mode of kube-proxy', () => {
    assert.match(ofRuleset('table ip kube-proxy {', '}').get('kube-proxy')!, /^warning: .*nftables/)
    assert.match(ofRuleset('table ip nat {', 'chain KUBE-SERVICES {', '}', '}').get('kube-proxy')!, /iptables or ipvs/)
    assert.match(ofRuleset('table ip nat {', '}').get('kube-proxy')!, /^ok/)
  })
})

const marks = { steeringMark: 0x8000, envoyMark: 0x1000, routeTable: 1666, rulePriority: 5 }
/** As `ip rule` prints it: `5:\tfrom all fwmark 0x8000/0xd000 lookup 1666`. */
function rule(text: string): Rule {
  const [, value, mask] = /fwmark (\w+)\/(\w+)/.exec(text) ?? []
  const table = /lookup (\w+)/.exec(text)![1]!
  return {
    family: 'IPv4',
    priority: Number.parseInt(text, 10),
    table: { local: 255, main: 254 }[table] ?? Number(table),
    mark: value === undefined ? undefined : { value: Number(value), mask: Number(mask) },
    source: undefined,
    destination: undefined,
    incoming: undefined,
    rest: text,
    isByMarkAlone: value !== undefined,
    text,
  }
}

const ours = rule('5:\tfrom all fwmark 0x8000/0xd000 lookup 1666')

test('a routing rule of others for one of our marks fails, ours and other marks do not', () => {
  const cilium = rule('9:\tfrom all fwmark 0x200/0xf00 lookup 2004')
  assert.equal(checkRules([ours, cilium], marks).outcome, 'ok')
  const { outcome, found } = checkRules([ours, rule('100:\tfrom all fwmark 0x8000/0xf000 lookup 100')], marks)
  assert.deepEqual([outcome, found], ['fails', '100: from all fwmark 0x8000/0xf000 lookup 100'])
})

test('a routing table that others use fails, and what the agent makes there does not', () => {
  assert.equal(checkTable([ours], [], 1666).outcome, 'ok')
  assert.equal(checkTable([], ['default via 10.0.0.1 dev eth0'], 1666).outcome, 'fails')
  assert.equal(checkTable([rule('50:\tfrom 10.0.0.0/8 lookup 1666')], [], 1666).outcome, 'fails')
})

test('routing rules of others before ours are named, and those behind it are no matter', () => {
  const [local, main] = [rule('0:\tfrom all lookup local'), rule('32766:\tfrom all lookup main')]
  const behind = rule('512:\tfrom all to 10.0.1.7 lookup main')
  assert.equal(checkOrder([local, ours, behind, main], marks).outcome, 'ok')
  const { outcome, found } = checkOrder([local, rule('1:\tfrom all to 10.0.1.7 lookup main'), ours], marks)
  assert.deepEqual([outcome, found], ['warning', 'before ours (5): 1: from all to 10.0.1.7 lookup main'])
})

const link = (name: string, kind?: string, master?: string): Link => ({ index: 2, name, kind, master })
const veth = (name: string, master?: string) => link(name, 'veth', master)

test('a pod network is routed where no bridge has a pod’s interface, and a bridged one needs bridge-nf', () => {
  assert.match(checkPodNetwork([veth('cali1')], undefined).found, /^routed/)
  assert.equal(checkPodNetwork([veth('veth1', 'cni0')], '1').outcome, 'warning')
  assert.equal(checkPodNetwork([veth('veth1', 'cni0')], '0').outcome, 'fails')
  assert.equal(checkPodNetwork([veth('veth1', 'cni0')], undefined).outcome, 'fails')
  assert.equal(checkPodNetwork([link('lo')], undefined).outcome, 'warning')
})

test('encryption between nodes is named', () => {
  assert.equal(checkEncryption([veth('cali1')], false).outcome, 'ok')
  const wireguard = link('wg0', 'wireguard')
  assert.equal(checkEncryption([wireguard], true).found, 'WireGuard (wg0), IPsec')
})

test('the plugins of a CNI configuration are read, of a list and of a single one', () => {
  assert.deepEqual(cniTypes('{"plugins": [{"type": "calico"}, {"type": "portmap"}]}'), ['calico', 'portmap'])
  assert.deepEqual(cniTypes('{"type": "bridge"}'), ['bridge'])
  assert.deepEqual(cniTypes('nonsense'), [])
})

test('an old kernel fails, and one without IP_LOCAL_PORT_RANGE is warned of', async () => {
  const outcomes = async (release: string) => (await checkKernel(release)).map(({ outcome }) => outcome)
  assert.deepEqual(await outcomes('5.4.0-generic'), ['fails', 'warning'])
  assert.deepEqual(await outcomes('6.1.0-13-amd64'), ['ok', 'warning'])
  assert.deepEqual(await outcomes('6.18.44'), ['ok'])
})

test('the range of local ports, the handover of waiting connections and the size of conntrack are judged', () => {
  assert.equal(checkPortRange('32768\t60999').outcome, 'warning')
  assert.equal(checkPortRange('32768\t65535').outcome, 'ok')
  assert.equal(checkMigration(undefined).outcome, 'warning')
  assert.equal(checkMigration('0').outcome, 'ok')
  assert.equal(checkConntrack(262144, 1000).outcome, 'ok')
  assert.equal(checkConntrack(262144, 200_000).outcome, 'warning')
  assert.equal(checkConntrack(Number.NaN, Number.NaN).outcome, 'warning')
})
