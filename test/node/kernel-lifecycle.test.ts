/** Starting, restarting, mending and removing the tables, with real nftables. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { cleanupKernel } from '../../src/kernel/cleanup.ts'
import { Nftables } from '../../src/kernel/nftables/client.ts'
import { systemPrograms } from '../../src/kernel/nftables/programs.ts'
import { renderRuleset } from '../../src/kernel/nftables/render.ts'
import { readOverlaySwitch, setOverlaySwitch } from '../../src/kernel/nftables/switch.ts'
import { KernelTables } from '../../src/kernel/nftables/sync/table.ts'
import { noPolicies } from '../../src/kernel/nodeconfig.ts'
import { removeStaleUdp } from '../../src/kernel/system/conntrack.ts'
import { portState } from '../../src/kernel/testing/states.ts'
import { runIn, run as runProgram } from '../../src/lab/processes.ts'
import type { Problem } from '../../src/services/problem.ts'
import { KernelLab, needsRoot } from './kernel-lab.ts'

const web = portState('a/web/http', '10.96.0.1', ['10.1.0.1:80@node1', '10.1.0.2:80@node2', '10.1.0.3:80@node2'])
const web6 = portState('a/web/http/IPv6', 'fd00:96::1', ['fd01::1 80@node1'])
const dns = portState('a/dns/53', '10.96.0.2', [], { port: { name: '', protocol: 'UDP', port: 53 } })
const vipPort = { ip: '10.96.0.1', port: 80 }

describe('The tables', needsRoot, () => {
  let lab: KernelLab
  beforeEach(async () => {
    lab = await KernelLab.create()
  })
  afterEach(() => lab?.destroy())

  /** A run of the agent. */
  async function run(states: readonly (typeof web)[], ...how: Parameters<KernelLab['createTables']>) {
    lab.tables = lab.createTables(...how)
    await lab.tables.start()
    for (const state of states) lab.tables.setPort(state)
    lab.tables.synced()
    await lab.tables.settled()
  }

  /** But for the heartbeat, which ends at another time whenever it is looked at. */
  const list = async (...flags: readonly string[]) =>
    (await lab.onNode('nft', ...flags, 'list', 'ruleset')).replaceAll(/^\s*elements = \{ ip6? timeout .*\n/gm, '')
  const ruleset = () => list()
  /** With handles, which change whenever something is written anew. */
  const handles = () => list('-a')

  test('are written as translate shows them', async () => {
    await run([web, web6, dns])
    const written = await ruleset()
    await lab.tables.close()
    await lab.onNode('nft', 'flush', 'ruleset')
    const text = renderRuleset([web, web6, dns], undefined, lab.options)
    const { code, stderr } = await runIn(lab.node.netns, 'nft', ['-f', '-'], { input: text })
    assert.equal(code, 0, stderr)
    assert.equal(await ruleset(), written)
  })

  test('are not touched by a restart when nothing changed, whatever order the endpoints have got', async () => {
    await run([web, web6, dns])
    lab.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
    await lab.tables.settled()
    lab.tables.setPort(web)
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    await lab.tables.close()
    const before = await handles()
    lab.flushes.length = 0
    await run([web, web6, dns])
    assert.deepEqual(lab.flushes, [])
    assert.equal(await handles(), before)
  })

  test('lose what a previous run left once the source has synced, and keep its overlay until told otherwise', async () => {
    await run([web, web6, dns])
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    await lab.tables.close()
    await run([web])
    const left = await ruleset()
    assert.doesNotMatch(left, /10\.96\.0\.2/)
    assert.doesNotMatch(left, /fd00:96::1/)
    assert.match(left, /elements = \{ 10\.96\.0\.1 \. 80 \}/)
    lab.tables.dropInheritedOverlay()
    await lab.tables.settled()
    assert.doesNotMatch(await ruleset(), /elements = \{ 10\.96\.0\.1 \. 80 \}/)
  })

  test('get another fixed part in place, and keep their elements and the switch', async () => {
    await run([web, web6, dns])
    await setOverlaySwitch(new Nftables(lab.options.netns), ['ip', 'ip6'], false)
    await lab.tables.close()
    const services = () => lab.onNode('nft', '-a', 'list', 'map', 'ip', 'lightpath', 'services')
    const before = await services()
    lab.flushes.length = 0
    await run([web, web6, dns], { targetPort: 1777, steeringMark: 0x2000 })
    assert.deepEqual([...lab.problems], [])
    assert.deepEqual(lab.flushes, [])
    assert.equal(await services(), before)
    const after = await ruleset()
    assert.match(after, /tproxy to :1777/)
    assert.doesNotMatch(after, /1666/)
    assert.match(after, /map @endpoints-tcp/)
    assert.equal(await readOverlaySwitch(new Nftables(lab.options.netns), ['ip', 'ip6']), false)
    assert.match(await lab.onNode('ip', 'rule'), /fwmark 0x2000\/0x7000 lookup 1666/)
    assert.doesNotMatch(await lab.onNode('ip', 'rule'), /0x8000/)
  })

  /** In any order of tables and chains. */
  const rules = async () => (await ruleset()).split('\n').toSorted().join('\n')

  /** Waits for what somebody removed to come back by itself. */
  async function mended(isWhole: () => Promise<boolean>): Promise<void> {
    for (let n = 0; n < 100; n++) {
      if (await isWhole()) return
      await delay(200)
    }
    assert.fail(`not mended: ${await ruleset()}`)
  }

  test('are written anew by themselves when somebody has removed them, one family too', async () => {
    await run([web, web6, dns])
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    const whole = await rules()
    for (const command of ['flush ruleset', 'delete table ip6 lightpath', 'delete table ip lightpath']) {
      await lab.onNode('nft', command)
      await mended(async () => (await rules()) === whole)
    }
    assert.equal(lab.damages.length, 3)
    assert.match(lab.damages[1]!, /table ip6 lightpath is gone/)
    assert.deepEqual([...lab.problems], [])
  })

  test('stay switched off where people have switched the overlay off, whoever flushes them', async () => {
    const nft = new Nftables(lab.options.netns)
    await run([web, web6], { presenceMs: 50 })
    await setOverlaySwitch(nft, ['ip', 'ip6'], false)
    await delay(1000)
    await lab.onNode('nft', 'flush', 'ruleset')
    await mended(async () => (await readOverlaySwitch(nft, ['ip', 'ip6'])) !== undefined)
    assert.equal(await readOverlaySwitch(nft, ['ip', 'ip6']), false)
    await setOverlaySwitch(nft, ['ip', 'ip6'], true)
    await delay(1000)
    await lab.onNode('nft', 'delete', 'table', 'ip', 'lightpath')
    await mended(async () => (await readOverlaySwitch(nft, ['ip', 'ip6'])) !== undefined)
    assert.equal(await readOverlaySwitch(nft, ['ip', 'ip6']), true)
  })

  test('get back a single element, rule, or route that somebody has removed, and lose one that came', async () => {
    const sticky = portState('a/sticky/http', '10.96.0.3', ['10.1.0.1:80'], { affinitySeconds: 60 })
    await run([web, web6, dns, sticky], { comparisonMs: 300, comparisonShare: 1 })
    lab.tables.setPolicies({ ...noPolicies, clients: ['10.1.0.9'] })
    await lab.tables.settled()
    const state = async () => {
      const routes = await lab.onNode('ip', 'route', 'show', 'table', 'all')
      return (await rules()) + (await lab.onNode('ip', '-6', 'rule')) + (/.*table 1666.*/.exec(routes)?.[0] ?? '')
    }
    const whole = await state()
    const harm: [damage: RegExp, ...command: string[]][] = [
      [
        /services 10\.96\.0\.1 .* of a\/web\/http/,
        'nft',
        'delete element ip lightpath services { 10.96.0.1 . tcp . 80 }',
      ],
      [/kernel-clients 10\.1\.0\.9/, 'nft', 'delete element ip lightpath kernel-clients { 10.1.0.9 }'],
      [/chain ip guard/, 'nft', 'flush chain ip lightpath guard'],
      [/chain ip6 endpoints-tcp-1/, 'nft', 'flush chain ip6 lightpath endpoints-tcp-1'],
      [/affinity 10\.96\.0\.3 /, 'nft', 'flush chain ip lightpath affinity-10.96.0.3-tcp-80'],
      [/services 10\.9\.9\.9/, 'nft', 'add element ip lightpath services { 10.9.9.9 . tcp . 80 : drop }'],
      [/routing rule or route of ip6/, 'ip', '-6', 'rule', 'del', 'priority', '5'],
      [/routing rule or route of ip /, 'ip', '-4', 'route', 'del', 'local', 'default', 'table', '1666'],
    ]
    for (const [damage, program, ...args] of harm) {
      await lab.onNode(program!, ...args)
      await mended(async () => (await state()) === whole)
      await lab.tables.settled()
      const told = lab.damages.splice(0)
      assert.equal(told.length, 1, `${args.join(' ')}: ${told.join()}`)
      assert.match(told[0]!, damage)
    }
    assert.deepEqual([...lab.problems], [])
  })

  test('have their routing rule and route again at once when somebody takes them, without any comparison', async () => {
    await run([web, web6], { presenceMs: 1e6, comparisonMs: 1e6 })
    const routing = async () => {
      const outputs = ['-4', '-6'].flatMap(family => [
        lab.onNode('ip', family, 'rule'),
        lab.onNode('ip', family, 'route', 'show', 'table', 'all', 'type', 'local', 'dev', 'lo', 'proto', 'kernel'),
      ])
      return (await Promise.all(outputs)).join('').replaceAll(/^(?!.*1666).*\n/gm, '')
    }
    const whole = await routing()
    assert.equal(whole.match(/1666/g)?.length, 4)
    for (const harm of [
      'ip rule del priority 5',
      'ip -6 rule del priority 5',
      'ip route flush table 1666',
      'ip -6 route flush table 1666',
      'ip link set lo down; ip link set lo up',
    ]) {
      lab.damages.length = 0
      await lab.onNode('sh', '-c', harm)
      await mended(async () => lab.damages.length > 0 && (await routing()) === whole)
      assert.match(lab.damages[0]!, /routing rule or route of ip6? is gone/)
    }
    lab.damages.length = 0
    await lab.onNode('ip', 'rule', 'add', 'priority', '512', 'to', '10.1.0.1', 'lookup', 'main')
    await lab.onNode('ip', 'rule', 'del', 'priority', '512')
    await delay(300)
    assert.deepEqual(lab.damages, [])
  })

  test('take the routing rule of an earlier version away', async () => {
    await lab.onNode('ip', 'rule', 'add', 'priority', '1666', 'fwmark', '0x1000/0x1000', 'lookup', '1666')
    await run([web])
    const rules = await lab.onNode('ip', 'rule')
    assert.doesNotMatch(rules, /^1666:/m)
    assert.match(rules, /^5:\tfrom all fwmark 0x8000\/0xd000 lookup 1666$/m)
    assert.deepEqual(lab.damages, [])
  })

  test('are mended at once when somebody changes anything of them, without any look or comparison of its own', async () => {
    await run([web, web6, dns], { presenceMs: 1e6, comparisonMs: 1e6, comparisonShare: 1 })
    const whole = await rules()
    for (const harm of [
      'flush ruleset',
      'delete table ip lightpath',
      'flush map ip lightpath services',
      'flush chain ip6 lightpath guard',
      'delete element ip lightpath services { 10.96.0.1 . tcp . 80 }',
      'add element ip lightpath services { 10.9.9.9 . tcp . 80 : drop }',
    ]) {
      lab.damages.length = 0
      await lab.onNode('nft', harm)
      await mended(async () => lab.damages.length > 0 && (await rules()) === whole)
    }
    await lab.tables.settled()
    lab.damages.length = 0
    await lab.onNode('nft', 'add table ip other; add chain ip other c')
    lab.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
    await lab.tables.settled()
    await delay(300)
    assert.deepEqual(lab.damages, [])
  })

  test('are left alone by comparisons while Services change', async () => {
    await run([web, web6, dns], { comparisonMs: 1, comparisonShare: 1, presenceMs: 1 })
    for (let n = 0; n < 60; n++) {
      lab.tables.setPort(portState(`a/s${n % 5}/http`, `10.96.1.${n % 5}`, n % 3 === 0 ? [] : [`10.1.1.${n}:80@node1`]))
      lab.tables.setPolicies({ ...noPolicies, clients: n % 3 === 0 ? [] : [`10.1.1.${n}`] })
      if (n % 4 === 0) lab.tables.removePort(`a/s${(n + 2) % 5}/http`)
      await lab.tables.settled()
    }
    assert.deepEqual(lab.damages, [])
  })

  test('hold up no other Service when one cannot be written, which is reported by name', async () => {
    // No address of its family: the kernel's sets take no such key.
    const bad = { ...portState('a/bad/http', 'fd00:96::300', ['10.1.0.1:80']), family: 'IPv4' as const }
    await run([web, bad, dns])
    assert.match(await ruleset(), /10\.96\.0\.1 \. tcp \. 80 : goto endpoints-tcp-3/)
    assert.deepEqual([...lab.problems.keys()], ['kernel a/bad/http'])
    const [problem] = lab.problems.get('kernel a/bad/http')!
    assert.equal(problem!.code, 'LP401')
    assert.equal(problem!.object, 'Service a/bad')
  })

  test('can be for one family alone', async () => {
    await run([web, web6], { families: ['IPv4'] })
    assert.deepEqual([...lab.problems], [])
    assert.equal((await lab.onNode('nft', 'list', 'tables')).trim(), 'table ip lightpath')
  })

  test('are reported missing with a remedy where there is no right to write them', async () => {
    const script = [
      "const { KernelTables } = await import('./src/kernel/nftables/sync/table.ts')",
      "const { testOptions } = await import('./src/kernel/testing/states.ts')",
      "const problems = (origin, some) => { if (origin === 'kernel') console.log(JSON.stringify(some)) }",
      'const tables = new KernelTables(testOptions, { problems })',
      'await tables.start()',
      'await tables.close()',
    ].join('\n')
    const bounded = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin']
    const node = [process.execPath, '--input-type=module', '--eval', script]
    const { stdout } = await runProgram(lab.options.prefix![0]!, [...lab.options.prefix!.slice(1), ...bounded, ...node])
    const [problem] = JSON.parse(stdout.split('\n')[0]!) as { code: string; reason: string; remedy: string }[]
    assert.equal(problem?.code, 'LP401')
    assert.match(problem!.reason, /EPERM/)
    assert.match(problem!.remedy, /CAP_NET_ADMIN/)
  })

  test('work where conntrack cannot be asked, which is reported', async () => {
    const problems = new Map<string, readonly Problem[]>()
    const programs = systemPrograms(lab.options, lab.options.netns)
    const tables = new KernelTables(
      lab.options,
      { problems: (origin, found) => void problems.set(origin, found) },
      { ...programs, removeStaleUdp: frontends => removeStaleUdp(frontends, '/nowhere') },
    )
    await tables.start()
    tables.setPort({ ...dns, endpoints: [{ ip: '10.1.0.1', port: 53 }] })
    tables.synced()
    await tables.settled()
    assert.match(await ruleset(), /10\.96\.0\.2 \. udp \. 53 : goto endpoints-udp-1/)
    const [problem] = problems.get('conntrack')!
    assert.match(problem!.reason, /ENOENT.*\/nowhere/)
    assert.match(problem!.remedy, /UDP clients .* tried again/)
    await tables.close()
  })

  test('go with all that belongs to them, and nothing else', async () => {
    await lab.onNode('nft', 'add table ip other')
    await lab.onNode('ip', 'rule', 'add', 'fwmark', '0x1', 'lookup', '99')
    const rules = async () => (await lab.onNode('ip', '-4', 'rule')) + (await lab.onNode('ip', '-6', 'rule'))
    const before = [await ruleset(), await rules()]
    await run([web, web6, dns])
    await lab.tables.close()
    assert.equal((await cleanupKernel(lab.options, lab.options)).length, 4)
    assert.deepEqual([await ruleset(), await rules()], before)
    for (const family of ['-4', '-6']) {
      assert.doesNotMatch(await lab.onNode('ip', family, 'route', 'show', 'table', 'all'), /table 1666/)
    }
    assert.deepEqual(await cleanupKernel(lab.options, lab.options), [])
  })
})
