import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createNetwork, type Network, type Pod } from '../../../src/lab/network.ts'
import { run, runIn } from '../../../src/lab/processes.ts'
import { lightpathProgram, skip } from '../agent/lab.ts'
import { http, serviceWith } from '../manifests.ts'

const noIptables = { skip: !existsSync('/usr/sbin/ipset') && 'needs ipset (Debian: ipset)' }

interface Report {
  readonly checks: readonly { readonly name: string; readonly outcome: string; readonly found: string }[]
  readonly services?: readonly { readonly service: string; readonly layer: string; readonly why: string }[]
}

describe('lightpath preflight on a node with a routed pod network', { skip }, () => {
  let network: Network
  let pod: Pod
  let netns: string
  let manifests: string

  before(async () => {
    network = await createNetwork({ nodes: 1 })
    netns = network.nodes[0]!.netns
    pod = await network.addPod('node1', 'web-1', { host: 11 })
    await node('sysctl', '-qw', 'net.ipv4.ip_local_port_range=32768 65535')
    manifests = join(network.directory, 'manifests')
    mkdirSync(manifests)
    const items = [
      ...serviceWith({ name: 'web', vips: ['10.96.5.1'], ports: [http] }, [pod]),
      ...serviceWith({ name: 'raw', vips: ['10.96.5.2'], ports: [{ ...http, name: 'raw' }] }, [pod]),
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'web-1', namespace: 'default' },
        spec: { nodeName: 'node1' },
        status: { podIP: pod.ip },
      },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'closed', namespace: 'default' },
        spec: { podSelector: {}, policyTypes: ['Egress'] },
      },
    ]
    writeFileSync(join(manifests, 'all.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
  })

  after(() => network?.destroy())

  async function node(command: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runIn(netns, command, args)
    assert.equal(code, 0, stderr)
    return stdout
  }

  const limit = { timeoutMs: 60_000 }
  const preflight = (...args: readonly string[]) =>
    runIn(netns, lightpathProgram, ['preflight', '--node-name', 'node1', ...args], limit)

  async function report(...args: readonly string[]): Promise<{ readonly code: number; readonly report: Report }> {
    const { code, stdout, stderr } = await preflight('--output', 'json', ...args)
    assert.ok(stdout.startsWith('{'), stderr)
    return { code: code!, report: JSON.parse(stdout) as Report }
  }

  const outcomes = ({ checks }: Report) =>
    new Map(checks.map(({ name, outcome, found }) => [name, `${outcome}: ${found}`]))

  test('finds nothing that fails, has the kernel check our rules, and changes nothing', async () => {
    const { code, report: found } = await report()
    assert.deepEqual(
      found.checks.filter(({ outcome }) => outcome === 'fails'),
      [],
    )
    assert.equal(code, 0)
    const texts = outcomes(found)
    assert.match(texts.get('nftables, IPv4')!, /^ok: the kernel takes our rules/)
    assert.match(texts.get('pod network')!, /^ok: routed/)
    assert.match(texts.get('ip_local_port_range')!, /^ok/)
    assert.equal(await node('nft', 'list', 'tables'), '')
  })

  test('looks at iptables and ipset where those are to write the rules, and changes nothing', noIptables, async () => {
    const { code, report: found } = await report('--proxy-mode', 'iptables')
    assert.equal(code, 0)
    const texts = outcomes(found)
    for (const family of ['IPv4', 'IPv6']) {
      assert.match(texts.get(`iptables, ${family}`)!, /^ok: iptables takes our rules/)
    }
    assert.match(texts.get('program iptables-restore')!, /^ok: iptables-restore v1/)
    assert.match(texts.get('program ipset')!, /^ok/)
    assert.equal(texts.has('nftables, IPv4'), false)
    assert.equal(await node('ipset', 'list', '-name'), '')
    assert.doesNotMatch(await node('iptables-save'), /LIGHTPATH/)
  })

  test('names each thing that would break traffic, with exit code 1, and is well when it is gone', async () => {
    await node('nft', 'table ip fw { chain in { type filter hook input priority 0; policy drop; iif "lo" accept; }; }')
    await node('nft', 'table ip cni { chain marks { meta mark & 0x1000 == 0x1000 drop; }; }')
    await node('ip', 'rule', 'add', 'priority', '77', 'fwmark', '0x8000/0x8000', 'lookup', '77')
    await node('ip', 'route', 'add', 'blackhole', '10.9.0.0/16', 'table', '1666')
    await node('nft', 'add', 'table', 'ip', 'kube-proxy')
    const script = "require('net').createServer().listen(1666, () => process.stdout.end('listening'))"
    const listener = await network.processes.spawnIn(netns, process.execPath, ['--eval', script], { pipeStdout: true })
    await new Promise(resolve => listener.stdout!.once('data', resolve))

    const { code, report: broken } = await report()
    assert.equal(code, 1)
    const texts = outcomes(broken)
    for (const [name, text] of [
      ['firewall', /^warning: policy drop in ip fw in$/],
      ['marks in rules', /^fails: others use 0x8000 or 0x1000: ip cni marks: meta mark/],
      ['marks in routing rules', /^fails: 77: from all fwmark 0x8000/],
      ['routing table 1666', /^fails: in use: blackhole 10\.9\.0\.0\/16/],
      ['kube-proxy', /^warning: runs in mode nftables/],
      ['ports', /^fails: 1666 in use/],
    ] as const) {
      assert.match(texts.get(name) ?? '', text)
    }
    const { stdout } = await preflight()
    assert.match(stdout, /fails +routing table 1666 .*\n +→ choose another: --route-table/)
    assert.match(stdout, /4 of \d+ checks fail: put that right/)

    await listener.stop()
    await node('nft', 'flush ruleset')
    await node('ip', 'rule', 'del', 'priority', '77')
    await node('ip', 'route', 'flush', 'table', '1666')
    assert.equal((await report()).code, 0)
  })

  test('a bridged pod network whose bridge does not call the hooks fails', async () => {
    await node('sh', '-c', 'ip link add cni0 type bridge && ip link set pod11 master cni0')
    await node('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0')
    const { code, report: found } = await report()
    assert.equal(code, 1)
    assert.match(outcomes(found).get('pod network')!, /^fails: bridged: cni0, and net\.bridge/)
    await node('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1')
    assert.match(outcomes((await report()).report).get('pod network')!, /^warning: bridged: cni0$/)
    await node('ip', 'link', 'delete', 'cni0')
  })

  test('says which layer each Service would get and why, and which pods would stay below', async () => {
    const { report: found } = await report('--source', manifests)
    assert.deepEqual(
      found.services!.map(({ service, layer }) => [service, layer]),
      [
        ['default/raw', 'kernel'],
        ['default/web', 'Envoy'],
      ],
    )
    assert.deepEqual(
      found.services!.map(({ why }) => why?.split(':')[0]),
      ['port name raw', 'port name http'],
    )
    const policies = outcomes(found).get('NetworkPolicies')!
    assert.match(
      policies,
      /^ok: 1 pods of this node stay in the kernel layer: default\/web-1 \(NetworkPolicy default\/closed\)/,
    )
    const { report: labelled } = await report('--source', manifests, '--services', 'labelled')
    assert.deepEqual(
      labelled.services!.map(({ layer }) => layer),
      ['not served', 'not served'],
    )
  })

  test('an API server that cannot be reached is one line and exit code 1', async () => {
    const kubeconfig = join(network.directory, 'kubeconfig')
    const cluster = { clusters: [{ name: 'a', cluster: { server: 'http://127.0.0.1:1' } }] }
    const context = { 'current-context': 'a', contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }] }
    writeFileSync(kubeconfig, JSON.stringify({ ...cluster, ...context, users: [{ name: 'a', user: {} }] }))
    const { code, stdout, stderr } = await preflight('--kubeconfig', kubeconfig)
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^lightpath preflight: LP105 .*not reachable/m)
  })

  test('without the rights to look it says which are missing', async () => {
    const words = ['--bounding-set', '-net_admin', lightpathProgram, 'preflight']
    const { code, stdout } = await run('nsenter', [`--net=/var/run/netns/${netns}`, 'setpriv', ...words], limit)
    assert.equal(code, 1)
    assert.match(stdout, /fails +nftables, IPv4 .*EPERM.*\n +→ run as root/)
  })
})
