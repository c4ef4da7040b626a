/** Starting, restarting and removing the tables, with real nftables. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { cleanupKernel } from '../../../src/kernel/cleanup.ts'
import { Nftables } from '../../../src/kernel/nftables/client.ts'
import { systemPrograms } from '../../../src/kernel/nftables/programs.ts'
import { renderRuleset } from '../../../src/kernel/nftables/render.ts'
import { readOverlaySwitch, setOverlaySwitch } from '../../../src/kernel/nftables/switch.ts'
import { KernelTables } from '../../../src/kernel/nftables/sync/table.ts'
import { removeStaleFlows } from '../../../src/kernel/system/connections/conntrack.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import { runIn, run as runProgram } from '../../../src/lab/processes.ts'
import type { Problem } from '../../../src/services/problem.ts'
import { KernelLab, needsRoot } from './lab.ts'
import { dns, vipPort, web, web6 } from './tables.ts'

describe('The tables', needsRoot, () => {
  let lab: KernelLab
  beforeEach(async () => {
    lab = await KernelLab.create()
  })
  afterEach(() => lab?.destroy())

  test('are written as translate shows them', async () => {
    await lab.run([web, web6, dns])
    const written = await lab.ruleset()
    await lab.tables.close()
    await lab.onNode('nft', 'flush', 'ruleset')
    const text = renderRuleset([web, web6, dns], undefined, lab.options)
    const { code, stderr } = await runIn(lab.node.netns, 'nft', ['-f', '-'], { input: text })
    assert.equal(code, 0, stderr)
    assert.equal(await lab.ruleset(), written)
  })

  test('are not touched by a restart when nothing changed, whatever order the endpoints have got', async () => {
    await lab.run([web, web6, dns])
    lab.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
    await lab.tables.settled()
    lab.tables.setPort(web)
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    await lab.tables.close()
    const before = await lab.ruleset('-a')
    lab.flushes.length = 0
    await lab.run([web, web6, dns])
    assert.deepEqual(lab.flushes, [])
    assert.equal(await lab.ruleset('-a'), before)
  })

  test('lose what a previous run left once the source has synced, and keep its overlay until told otherwise', async () => {
    await lab.run([web, web6, dns])
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    await lab.tables.close()
    await lab.run([web])
    const left = await lab.ruleset()
    assert.doesNotMatch(left, /10\.96\.0\.2/)
    assert.doesNotMatch(left, /fd00:96::1/)
    assert.match(left, /elements = \{ 10\.96\.0\.1 \. 80 \}/)
    lab.tables.dropInheritedOverlay()
    await lab.tables.settled()
    assert.doesNotMatch(await lab.ruleset(), /elements = \{ 10\.96\.0\.1 \. 80 \}/)
  })

  test('get another fixed part in place, and keep their elements and the switch', async () => {
    await lab.run([web, web6, dns])
    await setOverlaySwitch(new Nftables(lab.options.netns), ['ip', 'ip6'], false)
    await lab.tables.close()
    const services = () => lab.onNode('nft', '-a', 'list', 'map', 'ip', 'lightpath', 'services')
    const before = await services()
    lab.flushes.length = 0
    await lab.run([web, web6, dns], { targetPort: 1777, steeringMark: 0x2000 })
    assert.deepEqual([...lab.problems], [])
    assert.deepEqual(lab.flushes, [])
    assert.equal(await services(), before)
    const after = await lab.ruleset()
    assert.match(after, /tproxy to :1777/)
    assert.doesNotMatch(after, /1666/)
    assert.match(after, /map @endpoints-tcp/)
    assert.equal(await readOverlaySwitch(new Nftables(lab.options.netns), ['ip', 'ip6']), false)
    assert.match(await lab.onNode('ip', 'rule'), /fwmark 0x2000\/0x7000 lookup 1666/)
    assert.doesNotMatch(await lab.onNode('ip', 'rule'), /0x8000/)
  })

  test('take the routing rule of an earlier version away', async () => {
    await lab.onNode('ip', 'rule', 'add', 'priority', '1666', 'fwmark', '0x1000/0x1000', 'lookup', '1666')
    await lab.run([web])
    const rules = await lab.onNode('ip', 'rule')
    assert.doesNotMatch(rules, /^1666:/m)
    assert.match(rules, /^5:\tfrom all fwmark 0x8000\/0xd000 lookup 1666$/m)
    assert.deepEqual(lab.damages, [])
  })

  test('hold up no other Service when one cannot be written, which is reported by name', async () => {
    // No address of its family: the kernel's sets take no such key.
    const bad = { ...portState('a/bad/http', 'fd00:96::300', ['10.1.0.1:80']), family: 'IPv4' as const }
    await lab.run([web, bad, dns])
    assert.match(await lab.ruleset(), /10\.96\.0\.1 \. tcp \. 80 : goto endpoints-tcp-3/)
    assert.deepEqual([...lab.problems.keys()], ['kernel a/bad/http'])
    const [problem] = lab.problems.get('kernel a/bad/http')!
    assert.equal(problem!.code, 'LP401')
    assert.equal(problem!.object, 'Service a/bad')
  })

  test('can be for one family alone', async () => {
    await lab.run([web, web6], { families: ['IPv4'] })
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
      { ...programs, removeStaleFlows: frontends => removeStaleFlows(frontends, '/nowhere') },
    )
    await tables.start()
    tables.setPort({ ...dns, endpoints: [{ ip: '10.1.0.1', port: 53 }] })
    tables.synced()
    await tables.settled()
    assert.match(await lab.ruleset(), /10\.96\.0\.2 \. udp \. 53 : goto endpoints-udp-1/)
    const [problem] = problems.get('conntrack')!
    assert.match(problem!.reason, /ENOENT.*\/nowhere/)
    assert.match(problem!.remedy, /UDP clients .* tried again/)
    await tables.close()
  })

  test('go with all that belongs to them, and nothing else', async () => {
    await lab.onNode('nft', 'add table ip other')
    await lab.onNode('ip', 'rule', 'add', 'fwmark', '0x1', 'lookup', '99')
    const rules = async () => (await lab.onNode('ip', '-4', 'rule')) + (await lab.onNode('ip', '-6', 'rule'))
    const before = [await lab.ruleset(), await rules()]
    await lab.run([web, web6, dns])
    await lab.tables.close()
    assert.equal((await cleanupKernel(lab.options, lab.options)).length, 4)
    assert.deepEqual([await lab.ruleset(), await rules()], before)
    for (const family of ['-4', '-6']) {
      assert.doesNotMatch(await lab.onNode('ip', family, 'route', 'show', 'table', 'all'), /table 1666/)
    }
    assert.deepEqual(await cleanupKernel(lab.options, lab.options), [])
  })
})
