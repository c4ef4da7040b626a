import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { pino } from 'pino'
import { MisnamedPorts } from '../../plan/envoy/misnamed.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import type { Problem } from '../../services/problem.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { readMisnamed } from './memory.ts'
import { MisnamedWatch } from './misnamedwatch.ts'

describe('a port that is named http', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lightpath-misnamed-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  function node(speaksHttp: boolean | 'unknown' = false) {
    const known = new MisnamedPorts(readMisnamed(directory))
    const problems = new Map<string, readonly Problem[]>()
    const moved: string[] = []
    let state: PortState | undefined = aPortState()
    const watch = new MisnamedWatch({
      known,
      stateOf: id => (state?.id === id ? state : undefined),
      speaksHttp: async () => (speaksHttp === 'unknown' ? undefined : speaksHttp),
      onMoved: ids => moved.push(...ids),
      onProblems: (origin, found) => problems.set(origin, found),
      directory,
      log: pino({ level: 'silent' }),
    })
    const change = (after: PortState | undefined) => {
      watch.changed({ id: aPortState().id, before: state, after })
      state = after
    }
    const codes = () => [...problems.values()].flat().map(({ code }) => code)
    const why = () => state && known.why(state.id, state.port, state.settings)
    const see = (spoke: string) => watch.observed(aPortState().id, spoke)
    return { watch, moved, change, codes, why, see }
  }

  const changed = aPortState({ settings: { ...defaultSettings, overlay: 'true' } })

  test('goes to the kernel layer when its server speaks first, is known after a restart, and comes back changed', async () => {
    const first = node()
    await first.see('server first')
    assert.match(first.why()!, /speaks first.*protocol: tcp/)
    assert.deepEqual([first.moved, first.codes()], [[aPortState().id], ['LP206']])
    const second = node()
    second.watch.begin()
    assert.deepEqual([second.why() !== undefined, second.codes()], [true, ['LP206']])
    second.change(changed)
    assert.deepEqual([second.why(), second.codes()], [undefined, []])
    assert.deepEqual(readMisnamed(directory), [])
  })

  test('is forgotten with its Service', async () => {
    const { see, change } = node()
    await see('server first')
    change(undefined)
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

  test('counts as not known where the file is none of ours', () => {
    for (const text of ['', '{}', '[1]', '[["a"]]', '[["a","b"],null]']) {
      writeFileSync(join(directory, 'misnamed-ports.json'), text)
      assert.deepEqual(readMisnamed(directory), [])
    }
  })
})
