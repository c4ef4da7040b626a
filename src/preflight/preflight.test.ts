import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Link } from '../kernel/netlink/route/links.ts'
import type { Rule } from '../kernel/netlink/route/rules.ts'
import { type Expression, verdictCodes } from '../kernel/nftables/rules/expression.ts'
import { type Ruleset, tableFamilies } from '../kernel/nftables/wire/dump.ts'
import { checkBudget } from './cluster.ts'
import { checkConntrack, checkMigration, checkPortRange } from './limits.ts'
import { checkEncryption, checkPodNetwork, cniTypes } from './network.ts'
import { checkKernel } from './programs.ts'
import { checkOrder, checkRules, checkTable } from './routing.ts'
import { checkForeignRules, type ForeignRules, foreignRules } from './ruleset.ts'

type Found = Partial<Omit<Ruleset, 'family'>> & { readonly family?: number }

function rulesOf(found: Found): ForeignRules {
  return foreignRules([{ family: tableFamilies.ip, tables: [], chains: [], rules: [], ...found }], 0x9000)
}

/** Returns what the checks of a ruleset find, by name of the check. */
function ofRuleset(found: Found): ReadonlyMap<string, string> {
  const checks = checkForeignRules(rulesOf(found), '0x8000 or 0x1000', 'all')
  return new Map(checks.map(({ name, outcome, found }) => [name, `${outcome}: ${found}`]))
}

const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer)
const load = (name: 'meta' | 'ct'): Expression => ({ name, key: 3, dreg: 1 })
const save: Expression = { name: 'meta', key: 3, sreg: 1 }
const change = (mask: number, xor: number): Expression => {
  return { name: 'bitwise', sreg: 1, dreg: 1, length: 4, mask: word(mask), xor: word(xor) }
}
const compare = (value: number): Expression => ({ name: 'cmp', sreg: 1, op: 0, data: word(value) })
const put = (value: number): Expression => ({ name: 'immediate', dreg: 1, data: word(value) })
const accept: Expression = { name: 'immediate', dreg: 0, verdict: { code: verdictCodes.accept } }
const extension = (name: 'match' | 'target', extension: string, ...words: readonly number[]): Expression => {
  return { name, extension, info: new Uint8Array(Uint32Array.from(words).buffer) }
}

describe('rules of others', () => {
  const inChain = (expressions: readonly Expression[]) => {
    return ofRuleset({ rules: [{ table: 'cni', chain: 'mark', expressions }] }).get('marks in rules')!
  }
  const using: readonly (readonly [text: string, expressions: readonly Expression[]])[] = [
    ['meta mark & 0x1000 == 0x1000', [load('meta'), change(0x1000, 0), compare(0x1000)]],
    ['meta mark set meta mark | 0x8000', [load('meta'), change(0xffff_7fff, 0x8000), save]],
    ['meta mark set 0x1000', [put(0x1000), save]],
    ['meta mark 0x8000', [load('meta'), compare(0x8000)]],
    ['ct mark & 0xf000 == 0x9000', [load('ct'), change(0xf000, 0), compare(0x9000)]],
    ['meta mark set meta mark ^ 0x1000', [load('meta'), change(0xffff_ffff, 0x1000), save]],
    ['[target MARK]', [extension('target', 'MARK', 0x8000, 0x8000)]],
    ['meta mark set 0x1000 accept', [put(0x1000), save, accept]],
    ['[match connmark]', [extension('match', 'connmark', 0x1000, 0x1000)]],
  ]
  for (const [text, expressions] of using) {
    test(`that use a mark of ours are named: ${text}`, () => {
      assert.equal(inChain(expressions), `fails: others use 0x8000 or 0x1000: ip cni mark: ${text}`)
    })
  }

  const sparing: readonly (readonly [text: string, expressions: readonly Expression[]])[] = [
    ['another mark is asked for', [load('meta'), change(0x4000, 0), compare(0x4000)]],
    ['other bits are taken off', [load('meta'), change(0xffff_bfff, 0), save]],
    ['ours are not among those that are asked for', [load('meta'), change(0xffff_0000, 0), compare(0x0001_0000)]],
    ['ours are asked not to be there', [load('meta'), change(0x1000, 0), compare(0)]],
    ['what has ours is accepted', [load('meta'), change(0x8000, 0), compare(0x8000), accept]],
    ['what has ours is accepted by iptables', [extension('match', 'mark', 0x8000, 0x8000), accept]],
    ['a port has the number', [{ name: 'payload', base: 2, offset: 2, length: 2, dreg: 1 }, compare(0x1000)]],
    ['an extension of iptables is of another mark', [extension('target', 'MARK', 0x4000, 0x4000)]],
    ['an extension of iptables is of no mark', [extension('match', 'limit', 0x9000)]],
  ]
  for (const [text, expressions] of sparing) {
    test(`that leave our marks alone do not count: ${text}`, () => assert.match(inChain(expressions), /^ok/))
  }

  const hook = (hook: string, policy: 'accept' | 'drop') => ({ type: 'filter', hook, priority: 0, policy })

  test('of ours do not count, whatever they do', () => {
    const found = ofRuleset({
      tables: ['lightpath'],
      chains: [{ table: 'lightpath', name: 'guard', hook: hook('input', 'drop') }],
      rules: [{ table: 'lightpath', chain: 'guard', expressions: [load('meta'), compare(0x1000)] }],
    })
    assert.deepEqual(
      [...found.values()].filter(text => !text.startsWith('ok')),
      [],
    )
  })

  test('that drop at input or forward are named, with the firewall that they are of', () => {
    const chains = [
      { table: 'filter', name: 'INPUT', hook: hook('input', 'drop') },
      { table: 'filter', name: 'OUTPUT', hook: hook('output', 'drop') },
    ]
    assert.equal(ofRuleset({ tables: ['filter'], chains }).get('firewall'), 'warning: policy drop in ip filter INPUT')
    const firewalld = [{ table: 'firewalld', name: 'filter_FORWARD', hook: hook('forward', 'accept') }]
    const found = ofRuleset({ family: tableFamilies.inet, tables: ['firewalld'], chains: firewalld })
    assert.equal(found.get('firewall'), 'warning: firewalld')
  })

  test('that drop at prerouting before ours are named, and those behind ours are not', () => {
    const chain = (priority: number) => ({
      table: 'raw',
      name: 'PREROUTING',
      hook: { type: 'filter', hook: 'prerouting', priority, policy: 'accept' as const },
    })
    const drop: Expression = { name: 'immediate', dreg: 0, verdict: { code: 0 } }
    const rules = [{ table: 'raw', chain: 'PREROUTING', expressions: [load('meta'), compare(7), drop] }]
    const said = (priority: number) => ofRuleset({ tables: ['raw'], chains: [chain(priority)], rules }).get('firewall')!
    assert.equal(said(-300), 'warning: rules that drop before ours in ip raw PREROUTING (priority -300)')
    assert.match(said(0), /^ok/)
  })

  test('of a kube-proxy are no reason to worry where we serve labelled Services only', () => {
    const checks = checkForeignRules(rulesOf({ tables: ['kube-proxy'] }), '', 'labelled')
    assert.equal(checks.find(({ name }) => name === 'kube-proxy')?.outcome, 'ok')
  })

  test('tell the mode of kube-proxy', () => {
    const chains = [{ table: 'nat', name: 'KUBE-SERVICES', hook: undefined }]
    assert.match(ofRuleset({ tables: ['kube-proxy'] }).get('kube-proxy')!, /^warning: .*nftables/)
    assert.match(ofRuleset({ tables: ['nat'], chains }).get('kube-proxy')!, /iptables or ipvs/)
    assert.match(ofRuleset({ tables: ['nat'] }).get('kube-proxy')!, /^ok/)
  })
})

const marks = { steeringMark: 0x8000, envoyMark: 0x1000, routeTable: 1666, rulePriority: 5 }
/** Reads a rule as `ip rule` prints it: `5:\tfrom all fwmark 0x8000/0xd000 lookup 1666`. */
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

test('routing rules of others before ours are named, and those behind it are not', () => {
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
  assert.equal(checkEncryption([veth('cali1')], undefined).outcome, 'warning')
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

test('more ports for Envoy than it has room for are reported', () => {
  const port = {
    service: 'shop/web',
    port: 'http',
    vip: '10.96.0.1',
    layer: 'Envoy',
    external: undefined,
    why: '',
  } as const
  const planned = [port, port, { ...port, layer: 'kernel' } as const]
  assert.deepEqual(checkBudget(planned, 2), [])
  assert.deepEqual(checkBudget(planned, 'all'), [])
  assert.match(checkBudget(planned, 1)[0]!.found, /^2 ports are for it, and it has room for 1/)
})
