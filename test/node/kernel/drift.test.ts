/** Tables and routing that somebody else changes, with real nftables: they are mended. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Nftables } from '../../../src/kernel/nftables/client.ts'
import { readOverlaySwitch, setOverlaySwitch } from '../../../src/kernel/nftables/switch.ts'
import { noPolicies } from '../../../src/kernel/nodeconfig.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import { KernelLab, needsRoot } from './lab.ts'
import { dns, vipPort, web, web6 } from './tables.ts'

describe('The tables', needsRoot, () => {
  let lab: KernelLab
  beforeEach(async () => {
    lab = await KernelLab.create()
  })
  afterEach(() => lab?.destroy())

  test('are written anew by themselves when somebody has removed them, one family too', async () => {
    await lab.run([web, web6, dns])
    lab.tables.setOverlay([vipPort], true)
    await lab.tables.settled()
    const whole = await lab.rules()
    for (const command of ['flush ruleset', 'delete table ip6 lightpath', 'delete table ip lightpath']) {
      await lab.onNode('nft', command)
      await lab.mended(async () => (await lab.rules()) === whole)
    }
    assert.equal(lab.damages.length, 3)
    assert.match(lab.damages[1]!, /table ip6 lightpath is gone/)
    assert.deepEqual([...lab.problems], [])
  })

  test('stay switched off where people have switched the overlay off, whoever flushes them', async () => {
    const nft = new Nftables(lab.options.netns)
    await lab.run([web, web6], { presenceMs: 50 })
    await setOverlaySwitch(nft, ['ip', 'ip6'], false)
    await delay(1000)
    await lab.onNode('nft', 'flush', 'ruleset')
    await lab.mended(async () => (await readOverlaySwitch(nft, ['ip', 'ip6'])) !== undefined)
    assert.equal(await readOverlaySwitch(nft, ['ip', 'ip6']), false)
    await setOverlaySwitch(nft, ['ip', 'ip6'], true)
    await delay(1000)
    await lab.onNode('nft', 'delete', 'table', 'ip', 'lightpath')
    await lab.mended(async () => (await readOverlaySwitch(nft, ['ip', 'ip6'])) !== undefined)
    assert.equal(await readOverlaySwitch(nft, ['ip', 'ip6']), true)
  })

  test('get back a single element, rule, or route that somebody has removed, and lose one that came', async () => {
    const sticky = portState('a/sticky/http', '10.96.0.3', ['10.1.0.1:80'], { affinitySeconds: 60 })
    await lab.run([web, web6, dns, sticky], { comparisonMs: 300, comparisonShare: 1 })
    lab.tables.setPolicies({ ...noPolicies, clients: ['10.1.0.9'] })
    await lab.tables.settled()
    const state = async () => {
      const routes = await lab.onNode('ip', 'route', 'show', 'table', 'all')
      return (await lab.rules()) + (await lab.onNode('ip', '-6', 'rule')) + (/.*table 1666.*/.exec(routes)?.[0] ?? '')
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
      await lab.mended(async () => (await state()) === whole)
      await lab.tables.settled()
      const told = lab.damages.splice(0)
      assert.equal(told.length, 1, `${args.join(' ')}: ${told.join()}`)
      assert.match(told[0]!, damage)
    }
    assert.deepEqual([...lab.problems], [])
  })

  test('have their routing rule and route again at once when somebody takes them, without any comparison', async () => {
    await lab.run([web, web6], { presenceMs: 1e6, comparisonMs: 1e6 })
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
      await lab.mended(async () => lab.damages.length > 0 && (await routing()) === whole)
      assert.match(lab.damages[0]!, /routing rule or route of ip6? is gone/)
    }
    lab.damages.length = 0
    await lab.onNode('ip', 'rule', 'add', 'priority', '512', 'to', '10.1.0.1', 'lookup', 'main')
    await lab.onNode('ip', 'rule', 'del', 'priority', '512')
    await delay(300)
    assert.deepEqual(lab.damages, [])
  })

  test('are mended at once when somebody changes anything of them, without any look or comparison of its own', async () => {
    await lab.run([web, web6, dns], { presenceMs: 1e6, comparisonMs: 1e6, comparisonShare: 1 })
    const whole = await lab.rules()
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
      await lab.mended(async () => lab.damages.length > 0 && (await lab.rules()) === whole)
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
    await lab.run([web, web6, dns], { comparisonMs: 1, comparisonShare: 1, presenceMs: 1 })
    for (let n = 0; n < 60; n++) {
      lab.tables.setPort(portState(`a/s${n % 5}/http`, `10.96.1.${n % 5}`, n % 3 === 0 ? [] : [`10.1.1.${n}:80@node1`]))
      lab.tables.setPolicies({ ...noPolicies, clients: n % 3 === 0 ? [] : [`10.1.1.${n}`] })
      if (n % 4 === 0) lab.tables.removePort(`a/s${(n + 2) % 5}/http`)
      await lab.tables.settled()
    }
    assert.deepEqual(lab.damages, [])
  })
})
