/** nft's console beside nft as a program, both real. */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { waitFor } from '../../src/demo/wait.ts'
import { CommandError } from '../../src/kernel/command.ts'
import { ConsoleNft } from '../../src/kernel/console.ts'
import { Nft } from '../../src/kernel/nft.ts'
import { renderRuleset } from '../../src/kernel/render.ts'
import { belowFromOutside, portState } from '../../src/kernel/testing.ts'
import { KernelLab, needsRoot } from './kernel-lab.ts'

describe('A console of nft', needsRoot, () => {
  let lab: KernelLab
  let nft: ConsoleNft
  beforeEach(async () => {
    lab = await KernelLab.create()
    writeFileSync(log(), '')
    nft = new ConsoleNft(logging(''))
    await nft.apply('add table ip t\nadd map ip t m { type ipv4_addr : inet_service; }\n')
  })
  afterEach(async () => {
    nft?.close()
    await lab?.destroy()
  })

  const log = () => join(lab.network.directory, 'commands')
  /** Runs commands on the node and lists them in a file. `exception` is shell for some of them. */
  const logging = (exception: string) => {
    const script = `${exception}\necho "$*" >> ${log()}; exec ${lab.options.prefix!.join(' ')} "$@"`
    return ['sh', '-c', script, 'sh']
  }
  const programs = () => readFileSync(log(), 'utf8').match(/^nft -f -$/gm)?.length ?? 0
  const ruleset = () => lab.onNode('nft', 'list', 'ruleset')
  const add = (n: number) => nft.apply(`add element ip t m { 10.0.0.${n} : ${n} }\n`)
  const remove = (n: number) => nft.apply(`delete element ip t m { 10.0.0.${n} }\n`)

  /** Until then transactions go to the program. */
  async function ready() {
    await waitFor('the console', 30_000, async () => {
      const before = programs()
      await add(1)
      return programs() === before
    })
  }

  test('takes all small transactions, and each is in effect when it has been applied', async () => {
    await ready()
    const before = programs()
    for (let n = 2; n < 30; n++) {
      await add(n)
      if (n > 2) await remove(n - 1)
      assert.match(await ruleset(), new RegExp(`elements = \\{ 10\\.0\\.0\\.1 : 1, 10\\.0\\.0\\.${n} : ${n} \\}`))
    }
    assert.equal(programs(), before)
  })

  test('is asked nothing that is large: there the program is faster', async () => {
    await ready()
    const before = programs()
    const elements = Array.from({ length: 600 }, (_, n) => `10.1.${n >> 8}.${n & 255} : 80`)
    await nft.apply(`add element ip t m { ${elements.join(', ')} }\n`)
    assert.equal(programs(), before + 1)
    assert.match(await ruleset(), /10\.1\.2\.87 : 80/)
  })

  test('writes all that our tables are made of as the program does', async () => {
    const endpoints = ['10.1.0.1:80@node1', '10.1.0.2:80@node2']
    const states = [
      portState('a/web/http', '10.96.0.1', endpoints),
      portState('a/web/http/IPv6', 'fd00:96::1', ['fd01::1 80@node1']),
      portState('a/sticky/http', '10.96.0.2', endpoints, { affinitySeconds: 600 }),
      portState('a/sticky/http/IPv6', 'fd00:96::2', ['fd01::1 80@node1'], { affinitySeconds: 600 }),
      portState('a/none/http', '10.96.0.3', [], { layer: belowFromOutside }),
    ]
    const text = renderRuleset(states, undefined, lab.options)
    const tables = text.split(/(?<=^\}\n)(?=\S)/m)
    await ready()
    const before = programs()
    const inSmallParts = tables.flatMap(table => (table.length > 8192 ? [] : [table]))
    for (const part of inSmallParts) await nft.apply(part)
    assert.equal(programs(), before)
    assert.ok(inSmallParts.length > 2)
    const written = await ruleset()
    await lab.onNode('nft', 'flush', 'ruleset')
    await new Nft(lab.options.prefix).apply('add table ip t\nadd map ip t m { type ipv4_addr : inet_service; }\n')
    await new Nft(lab.options.prefix).apply('add element ip t m { 10.0.0.1 : 1 }\n')
    await new Nft(lab.options.prefix).apply(inSmallParts.join(''))
    assert.equal(written, await ruleset())
  })

  test('refuses what the program refuses, as a whole and in the same words, and goes on', async () => {
    await ready()
    const refused = [
      'add element ip t m { 10.0.0.2 : 2 }\ndelete element ip t m { 10.0.0.3 }\n',
      'add element ip t m { 10.0.0.2 : 2 }\nadd element ip t nothing { 10.0.0.3 : 3 }\n',
      'add element ip t m { 10.0.0.300 : 2 }\n',
      'add element ip t m { 10.0.0.2 : 2\n',
      'add element ip t m { 10.0.0.2 : "2 }\n',
      'add element ip t m { 10.0.0.1 : 2 }\n',
      'what\n',
      '?\n',
      '}\n',
    ]
    const whole = await ruleset()
    for (const text of refused) {
      const errors: unknown[] = []
      for (const client of [nft, new Nft(lab.options.prefix)]) {
        await assert.rejects(client.apply(text), error => errors.push(error) > 0 && error instanceof CommandError)
      }
      assert.deepEqual(errors[0], errors[1])
      assert.equal(await ruleset(), whole)
    }
    await ready()
  })

  test('that ends, or that this nft does not have, is no loss: the program takes its place', async () => {
    nft.close()
    const exceptions = ['case "$*" in *-i) exit 1;; esac', 'case "$*" in *-i) echo no >&2; exec cat;; esac']
    for (const [n, exception] of exceptions.entries()) {
      nft = new ConsoleNft(logging(exception))
      for (let change = 0; change < 5; change++) await add(10 * n + change + 1)
      assert.match(await ruleset(), new RegExp(`10\\.0\\.0\\.${10 * n + 5} : ${10 * n + 5}\\b`))
      nft.close()
    }
  })
})
