import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { MisnamedPorts } from '../../plan/envoy/misnamed.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import type { Problem } from '../../services/problem.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { misnamedFiles, readMisnamed, writeMisnamed } from './memory.ts'
import { MisnamedWatch } from './misnamedwatch.ts'

describe('a port that is named http', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lightpath-misnamed-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  const id = aPortState().id
  const file = () => misnamedFiles(directory)[0]

  function node(speaksHttp: boolean | 'unknown' = false) {
    const known = new MisnamedPorts(readMisnamed(directory))
    const problems = new Map<string, readonly Problem[]>()
    const moved: string[] = []
    let [state, asked]: [PortState | undefined, number] = [aPortState(), 0]
    let answer: Promise<boolean | undefined> = Promise.resolve(speaksHttp === 'unknown' ? undefined : speaksHttp)
    const watch = new MisnamedWatch({
      known,
      stateOf: of => (state?.id === of ? state : undefined),
      speaksHttp: () => {
        asked++
        return answer
      },
      onMoved: ids => moved.push(...ids),
      onProblems: (origin, found) => problems.set(origin, found),
      directory,
      log: pino({ level: 'silent' }),
    })
    const change = (after: PortState | undefined) => {
      watch.changed({ id, before: state, after })
      state = after
    }
    /** From now on answers come when they are given. */
    const answerLater = () => {
      const later = Promise.withResolvers<boolean>()
      answer = later.promise
      return later.resolve
    }
    const codes = () => [...problems.values()].flat().map(({ code }) => code)
    const why = () => state && known.why(state.id, state.port, state.settings)
    const see = (spoke: string) => watch.observed(id, spoke)
    return { watch, moved, change, codes, why, see, answerLater, asked: () => asked }
  }

  const changed = aPortState({ settings: { ...defaultSettings, overlay: 'true' } })

  test('goes to the kernel layer when its server speaks first, is known after a restart, and comes back changed', async () => {
    const first = node()
    await first.see('server first')
    assert.match(first.why()!, /speaks first.*protocol: tcp/)
    assert.deepEqual([first.moved, first.codes()], [[id], ['LP206']])
    first.watch.stop()
    const second = node()
    second.watch.begin()
    assert.deepEqual([second.why() !== undefined, second.codes()], [true, ['LP206']])
    second.change(changed)
    assert.deepEqual([second.why(), second.codes()], [undefined, []])
    second.watch.stop()
    assert.deepEqual(readMisnamed(directory), [])
  })

  test('is forgotten with its Service', async () => {
    const { see, change, watch } = node()
    await see('server first')
    await turn()
    assert.equal(readMisnamed(directory).length, 1)
    change(undefined)
    watch.stop()
    assert.deepEqual(readMisnamed(directory), [])
  })

  test('stays where it is if it has answered HTTP, or Envoy does not answer', async () => {
    for (const speaksHttp of [true, 'unknown'] as const) {
      const { see, why, codes } = node(speaksHttp)
      for (let i = 0; i < 10; i++) await see(i % 2 === 0 ? 'server first' : 'TLS')
      assert.deepEqual([why(), codes()], [undefined, []])
    }
  })

  test('has a problem from the third client on that speaks TLS, until its owner changes it', async () => {
    const { see, why, codes, change, watch } = node()
    await see('TLS')
    await see('TLS')
    assert.deepEqual(codes(), [])
    await see('TLS')
    assert.deepEqual([why(), codes()], [undefined, ['LP206']])
    change(changed)
    assert.deepEqual(codes(), [])
    watch.stop()
  })

  test('goes to the kernel layer, too, when its clients were reported first', async () => {
    const { see, why, codes, watch } = node()
    for (let i = 0; i < 3; i++) await see('TLS')
    await see('server first')
    assert.deepEqual([why() !== undefined, codes()], [true, ['LP206']])
    watch.stop()
  })

  test('is asked about once at a time, and not again once it has answered HTTP', async () => {
    const { see, codes, answerLater, asked } = node()
    const answer = answerLater()
    const seen = Array.from({ length: 100 }, () => see('TLS'))
    assert.equal(asked(), 1)
    answer(true)
    await Promise.all(seen)
    for (let i = 0; i < 100; i++) await see('server first')
    assert.deepEqual([asked(), codes()], [1, []])
  })

  test('has no problem that stays where its owner changes it while Envoy is asked', async () => {
    const { see, codes, change, answerLater, watch } = node()
    const answer = answerLater()
    const seen = ['TLS', 'TLS', 'TLS', 'server first'].map(see)
    change(changed)
    answer(false)
    await Promise.all(seen)
    watch.stop()
    assert.deepEqual([codes(), readMisnamed(directory)], [[], []])
  })

  test('is written down together with others of the same turn', async () => {
    const { id: _, ...port } = aPortState()
    const states = new Map(Array.from({ length: 50 }, (_, i) => [`a/b/${i}`, { ...port, id: `a/b/${i}` }]))
    const watch = new MisnamedWatch({
      known: new MisnamedPorts([...states.keys()].map(id => [id, 'something else'])),
      stateOf: id => states.get(id),
      speaksHttp: async () => false,
      onMoved() {},
      onProblems() {},
      directory,
      log: pino({ level: 'silent' }),
    })
    watch.begin()
    assert.equal(existsSync(file()), false)
    await turn()
    assert.equal(readFileSync(file(), 'utf8'), '[]')
    watch.stop()
  })

  test('counts as not known where the file is none of ours', () => {
    for (const text of ['', '{}', '[1]', '[["a"]]', '[["a","b"],null]']) {
      writeFileSync(file(), text)
      assert.deepEqual(readMisnamed(directory), [])
    }
  })

  test('counts as not known where Envoy’s user put the file there, whatever it is', () => {
    writeFileSync(`${file()}.mine`, '[["a","b"]]')
    const others: readonly (() => void)[] = [
      () => execFileSync('mkfifo', [file()]),
      () => symlinkSync(`${file()}.mine`, file()),
      () => writeFileSync(file(), `[["a","b"]]${' '.repeat(41_000_000)}`),
      ...(process.geteuid!() === 0
        ? [
            () => {
              writeFileSync(file(), '[["a","b"]]')
              chownSync(file(), 101, 101)
            },
          ]
        : []),
    ]
    for (const make of others) {
      make()
      assert.deepEqual(readMisnamed(directory), [])
      rmSync(file())
    }
  })

  test('is never written through a link', () => {
    const precious = join(directory, 'precious')
    writeFileSync(precious, 'precious')
    symlinkSync(precious, `${file()}.new`)
    writeMisnamed(directory, [['a', 'b']])
    assert.deepEqual([readFileSync(precious, 'utf8'), readMisnamed(directory)], ['precious', [['a', 'b']]])
  })
})
