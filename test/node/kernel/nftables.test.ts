/** Tables written by netlink beside real versions of nft, and faults of all kinds: the kernel's, other programs', our own. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { type Bytes, dropBytes } from '../../../src/kernel/nftables/bytes.ts'
import { Nftables } from '../../../src/kernel/nftables/client.ts'
import { type ElementName, elementName, setOf } from '../../../src/kernel/nftables/elements/elements.ts'
import { elementText, elementValueText } from '../../../src/kernel/nftables/elements/text.ts'
import { keyText, typesOf, valueText } from '../../../src/kernel/nftables/elements/values.ts'
import { TransactionRefused } from '../../../src/kernel/nftables/errors.ts'
import { type Operation, operationsText, type SetElement } from '../../../src/kernel/nftables/operations.ts'
import { planRuleset } from '../../../src/kernel/nftables/render.ts'
import { fixedPart, tableOf } from '../../../src/kernel/nftables/rules/ruleset.ts'
import { fixedSet } from '../../../src/kernel/nftables/sets.ts'
import { KernelTables } from '../../../src/kernel/nftables/sync/table.ts'
import { states } from '../../../src/kernel/testing/packets.ts'
import { element, inWords, portState, testOptions } from '../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import { run, runIn } from '../../../src/lab/processes.ts'
import type { Problem } from '../../../src/services/problem.ts'
import { setsOfEveryKind, versionsOfNft } from './foreign-sets.ts'
import { needsRoot } from './lab.ts'
import { variants } from './nftables-variants.ts'

const netns = `lp-nft-${process.pid}`
const path = netnsPath(netns)

describe('nf_tables by netlink', needsRoot, () => {
  let nft: Nftables
  let programs: readonly string[]

  before(async () => {
    programs = await versionsOfNft()
    await run('ip', ['netns', 'add', netns])
  })
  after(() => run('ip', ['netns', 'delete', netns]))
  beforeEach(() => {
    nft = new Nftables(path)
  })
  afterEach(async () => {
    nft.close()
    await shell(programs[1]!, 'flush', 'ruleset')
  })

  async function shell(program: string, ...args: readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await runIn(netns, program, args)
    assert.equal(code, 0, `${program} ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  async function load(program: string, text: string): Promise<void> {
    const { stderr, code } = await runIn(netns, program, ['-f', '-'], { input: text })
    assert.equal(code, 0, stderr)
  }

  for (const [name, options] of variants) {
    test(`Each version of nft lists what was written as what it loads of the text: ${name}`, async () => {
      const samples = fc.sample(states, { numRuns: 4, seed: 1 })
      for (const ports of samples) {
        const operations = planRuleset(ports, undefined, { ...testOptions, ...options })
        for (const program of programs) {
          await load(program, operationsText(operations))
          const loaded = await shell(program, 'list', 'ruleset')
          await shell(program, 'flush', 'ruleset')
          await nft.apply(operations)
          assert.equal(await shell(program, 'list', 'ruleset'), loaded)
          await shell(program, 'flush', 'ruleset')
        }
      }
    })
  }

  test('What was written is read again: chains, elements, ranges, chains of session affinity', async () => {
    for (const ports of fc.sample(states, { numRuns: 10, seed: 2 })) {
      const operations = planRuleset(ports, undefined, { ...testOptions, clusterCidr: ['10.244.0.0/16'] })
      await nft.apply(operations)
      const wanted = operations.flatMap(operation => {
        if (operation.do !== 'add') return []
        const types = typesOf(operation.table.family, operation.set)
        return operation.elements.map(({ key, value }) => {
          return `${operation.table.family} ${operation.set.name} ${keyText(types, key)} ${valueText(types, value)}`
        })
      })
      const found: string[] = []
      for (const family of ['ip', 'ip6'] as const) {
        await nft.read(family, {
          chain: () => {},
          element: (name, value) => void found.push(`${elementText(name)} ${elementValueText(name, value)}`),
        })
      }
      const isOwn = (text: string) => / (affinity|clients) /.test(text)
      assert.deepEqual(found.filter(text => !isOwn(text)).sort(), wanted.sort())
      for (const text of found.filter(text => / affinity /.test(text)))
        assert.match(text, / (tcp|udp|sctp) 10800 65535 /)
      await shell('nft', 'flush', 'ruleset')
    }
  })

  test('Sets that another version of nft declared, of all kinds, are no obstacle', async () => {
    for (const program of programs) {
      await load(program, setsOfEveryKind)
      const operations = planRuleset([portState('a/b/c', '10.0.0.1', ['10.1.0.1:80'])], undefined, testOptions)
      await nft.check(operations)
      await nft.apply(operations)
      let elements = 0
      assert.equal(await nft.read('ip', { chain: () => {}, element: () => void elements++ }), true)
      assert.ok(elements > 2)
      assert.ok((await nft.ruleset(1)).rules.length > 0)
      await shell(program, 'flush', 'ruleset')
    }
  })

  const services = fixedSet('services')
  const adding = (elements: readonly SetElement[]): Operation => {
    return { do: 'add', table: tableOf('ip'), set: services, elements }
  }
  const change = (verb: 'add' | 'delete', key: string, value = ''): Operation => {
    return { do: verb, table: tableOf('ip'), set: services, elements: [element('ip', 'services', key, value)] }
  }

  async function elementsOf(set: string): Promise<Map<string, string>> {
    const found = new Map<ElementName, Bytes>()
    await nft.read('ip', {
      chain: () => {},
      element: (name, value) => void (setOf(name).set === set && found.set(name, value)),
    })
    const words = [...inWords(found)]
    return new Map(words.map(([name, value]) => [name.slice(`ip ${set} `.length), value]))
  }

  test('Of 5,000 transactions, a tenth of them refused, each is done whole or not at all, and the element is named', async () => {
    await nft.apply([fixedPart('ip', testOptions)])
    const model = new Map<string, string>()
    const random = fc.sample(fc.nat(), { numRuns: 30_000, seed: 3 })
    let turn = 0
    const below = (count: number) => random[turn++ % random.length]! % count
    let refused = 0
    for (let n = 0; n < 5000; n++) {
      const keys = new Set(Array.from({ length: 1 + below(4) }, () => `10.0.${below(4)}.${below(50)} . tcp . 80`))
      const operations = [...keys].map(key => {
        const value = below(2) === 0 ? 'drop' : 'goto refuse'
        return change(model.has(key) ? 'delete' : 'add', key, model.has(key) ? '' : value)
      })
      if (n % 10 === 5) {
        // Not there, so it cannot be removed.
        const badKey = `10.9.9.${below(200)} . udp . 53`
        const bad = change('delete', badKey)
        operations.splice(below(operations.length + 1), 0, bad)
        const name = `ip services ${badKey}`
        await assert.rejects(nft.apply(operations), (error: unknown) => {
          assert.ok(error instanceof TransactionRefused, String(error))
          assert.deepEqual(error.names.map(elementText), [name])
          return true
        })
        refused++
        continue
      }
      await nft.apply(operations)
      for (const operation of operations) {
        if (operation.do !== 'add' && operation.do !== 'delete') continue
        const types = typesOf('ip', services)
        for (const { key, value } of operation.elements)
          operation.do === 'add'
            ? model.set(keyText(types, key), valueText(types, value))
            : model.delete(keyText(types, key))
      }
    }
    assert.equal(refused, 500)
    assert.deepEqual(new Map([...(await elementsOf('services'))].sort()), new Map([...model].sort()))
  })

  test('An element among many that the kernel refuses is named, also one that is no key of the set', async () => {
    await nft.apply([fixedPart('ip', testOptions)])
    const many = Array.from({ length: 200 }, (_, n) => element('ip', 'services', `10.0.0.${n} . tcp . 80`, 'drop'))
    const without = many.with(77, element('ip', 'services', '10.0.0.77 . tcp . 80', 'goto nowhere'))
    const refusedName = async (elements: readonly SetElement[]) => {
      const error: unknown = await nft.apply([adding(elements)]).catch(error => error)
      assert.ok(error instanceof TransactionRefused, String(error))
      return error.names.map(elementText)
    }
    assert.deepEqual(await refusedName(without), ['ip services 10.0.0.77 . tcp . 80'])
    // Of an address of four bytes alone, as no set of such keys can hold it.
    const broken = many.with(5, { key: '\n\0\0\x05', value: dropBytes })
    const error: unknown = await nft.apply([adding(broken)]).catch(error => error)
    assert.deepEqual((error as TransactionRefused).names, [elementName('ip', 'services', '\n\0\0\x05')])
    assert.equal((await elementsOf('services')).size, 0)
  })

  test('A writer that is killed in the middle leaves a whole transaction or nothing of it', async () => {
    await nft.apply([fixedPart('ip', testOptions)])
    const size = 2000
    for (const milliseconds of [3, 7, 12, 21, 40]) {
      const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '--eval', writer(size)], {
        stdio: 'ignore',
      })
      while ((await elementsOf('endpoints-tcp')).size === 0 && child.exitCode === null) await delay(10)
      await delay(milliseconds)
      child.kill('SIGKILL')
      await once(child, 'exit')
      const values = new Set((await elementsOf('endpoints-tcp')).values())
      assert.ok(values.size <= 1, [...values].join())
      const { size: count } = await elementsOf('endpoints-tcp')
      assert.ok(count === 0 || count === size, String(count))
      await nft.apply([{ do: 'flush set', table: tableOf('ip'), name: 'endpoints-tcp' }])
    }
  })

  /** Replaces all elements by ones of another value, again and again. */
  function writer(size: number): string {
    return `
      const { Nftables } = await import('./src/kernel/nftables/client.ts')
      const { tableOf } = await import('./src/kernel/nftables/rules/ruleset.ts')
      const { fixedSet } = await import('./src/kernel/nftables/sets.ts')
      const { element } = await import('./src/kernel/testing/states.ts')
      const nft = new Nftables(${JSON.stringify(path)})
      const [table, set] = [tableOf('ip'), fixedSet('endpoints-tcp')]
      for (let turn = 0; ; turn++) {
        const operations = [{ do: 'flush set', table, name: set.name }]
        for (let start = 0; start < ${size}; start += 200) {
          const elements = Array.from({ length: 200 }, (_, n) => element('ip', set.name, '10.0.0.1 . 80 . ' + (start + n), '10.1.0.1 . ' + (1 + turn % 9)))
          operations.push({ do: 'add', table, set, elements })
        }
        await nft.apply(operations)
      }`
  }

  test('Somebody flushes everything every 100 ms for 10 s while Services change: all is there again, without a crash', async () => {
    const problems: string[] = []
    const tables = new KernelTables(
      { ...testOptions, netns: path, prefix: ['nsenter', `--net=${path}`], presenceMs: 20 },
      { problems: (origin, found) => void problems.push(...found.map(({ reason }) => `${origin}: ${reason}`)) },
    )
    await run('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
    await tables.start()
    tables.synced()
    const port = (n: number) => portState(`a/s${n % 50}/http`, `10.96.0.${n % 50}`, [`10.1.0.${1 + (n % 200)}:80`])
    const end = performance.now() + 10_000
    let flushes = 0
    for (let n = 0; performance.now() < end || flushes < 20; n++) {
      tables.setPort(port(n))
      await delay(5)
      if (n % 20 !== 0) continue
      await shell('nft', 'flush', 'ruleset')
      flushes++
    }
    for (let n = 0; n < 50; n++) tables.setPort(port(n))
    const isWhole = async () => (await elementsOf('services').catch(() => new Map())).size === 50
    for (let n = 0; n < 200 && !(await isWhole()); n++) await delay(100)
    await tables.settled()
    assert.equal((await elementsOf('services')).size, 50)
    assert.deepEqual(
      problems.filter(text => !/kernel: /.test(text)),
      [],
    )
    await tables.close()
  })

  test('A second agent on the node says so and writes nothing, and begins when the first has ended', async () => {
    const problems = new Map<string, readonly Problem[]>()
    const observer = { problems: (origin: string, found: readonly Problem[]) => void problems.set(origin, found) }
    const options = { ...testOptions, netns: path, prefix: ['nsenter', `--net=${path}`] }
    await run('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
    const [first, second] = [new KernelTables(options), new KernelTables(options, observer)]
    await first.start()
    first.setPort(portState('a/first/http', '10.96.0.1', ['10.1.0.1:80']))
    first.synced()
    await first.settled()
    await second.start()
    second.setPort(portState('a/second/http', '10.96.0.2', ['10.1.0.2:80']))
    second.synced()
    const [problem] = problems.get('kernel')!
    assert.equal(problem!.code, 'LP401')
    assert.match(problem!.reason, /another agent writes the rules of this node/)
    assert.match(problem!.remedy, /stop one of the two/)
    await delay(500)
    assert.deepEqual([...(await elementsOf('services')).keys()], ['10.96.0.1 . tcp . 80'])
    await first.close()
    await second.settled()
    assert.deepEqual([...(await elementsOf('services')).keys()], ['10.96.0.2 . tcp . 80'])
    assert.deepEqual(problems.get('kernel'), [])
    await second.close()
  })
})
