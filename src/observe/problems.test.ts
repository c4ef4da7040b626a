import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { problem } from '../services/problem.ts'
import { growth } from '../testing/steps.ts'
import { ProblemRegistry } from './problems.ts'

function setUp() {
  const said: string[] = []
  const say = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) =>
    void said.push(`${level} ${message} ${fields.reason}`)
  const registry = new ProblemRegistry({
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
  })
  return { registry, said }
}

const broken = (reason: string) => problem('LP202', 'Service a/b', reason, 'the default applies')

describe('problems', () => {
  test('are logged once while they last, and once when they are over', () => {
    const { registry, said } = setUp()
    registry.set('Service a/b', [broken('x')])
    registry.set('Service a/b', [broken('x')])
    registry.set('Service a/b', [])
    registry.set('Service a/b', [])
    assert.deepEqual(said, ['warn problem x', 'info problem is over x'])
  })
  test('of one origin that change are told apart', () => {
    const { registry, said } = setUp()
    registry.set('Service a/b', [broken('x'), broken('y')])
    registry.set('Service a/b', [broken('y'), broken('z')])
    assert.deepEqual(said, ['warn problem x', 'warn problem y', 'warn problem z', 'info problem is over x'])
  })
  test('of several origins are counted together by code, and found by object', () => {
    const { registry } = setUp()
    registry.set('Service a/b', [broken('x')])
    registry.set('Envoy a/b/http', [broken('y')])
    assert.equal(registry.counts().get('LP202'), 2)
    assert.equal(registry.of('Service a/b').length, 2)
    assert.deepEqual(registry.of('Service a/c'), [])
  })
  test('of one object that change all the time are at most thirty lines at once, and thirty a minute', context => {
    let now = 0
    context.mock.method(performance, 'now', () => now)
    const { registry, said } = setUp()
    for (let i = 0; i < 1000; i++) registry.set('Service a/b', [broken(`x${i}`)])
    assert.equal(said.length, 30)
    assert.equal(registry.of('Service a/b').length, 1)
    registry.set('Service a/other', [{ ...broken('y'), object: 'Service a/other' }])
    assert.equal(said.length, 31)
    now += 60_000
    for (let i = 0; i < 1000; i++) registry.set('Service a/b', [broken(`z${i}`)])
    assert.equal(said.length, 61)
  })
  test('take time in proportion to their number', async () => {
    const ofSize = (size: number) => Array.from({ length: size }, (_, i) => broken(`x${i}`))
    const ratio = await growth(size => {
      const { registry } = setUp()
      registry.set('manifest.yaml', ofSize(size))
      registry.set('manifest.yaml', ofSize(size + 1).slice(1))
    }, 500)
    assert.ok(ratio < 5, `four times as many took ${ratio} times the work`)
  })
})
