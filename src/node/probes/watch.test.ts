import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { PathResult } from '../../kernel/probes/pathtest.ts'
import type { IpFamily } from '../../net/address.ts'
import { PathWatch } from './watch.ts'

const open: PathResult = { outcome: 'open', by: 'pod 10.0.0.1 (interface pod1)' }
const blocked: PathResult = { outcome: 'blocked', by: 'pod 10.0.0.1 (interface pod1)', reason: 'dropped' }

/** A watch whose tests have the result that `node` says, at a clock that `pass` moves. */
function watched(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const node = {
    result: open,
    listening: ['IPv4'] as IpFamily[],
    fails: undefined as Error | undefined,
    failing: undefined as IpFamily | undefined,
  }
  const told: string[] = []
  let tests = 0
  const watch = new PathWatch({
    settleMs: 100,
    failures: 2,
    betweenMs: 500,
    blockedMs: 10_000,
    openMs: 60_000,
    listening: () => node.listening,
    test: async family => {
      tests++
      if (node.fails && (node.failing ?? family) === family) throw node.fails
      return node.result
    },
    onResult: (family, result) => told.push(`${family} ${result.outcome}`),
  })
  const pass = async (ms: number) => {
    context.mock.timers.tick(ms)
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
  return { node, told, watch, pass, tests: () => tests }
}

test('the path is tested once Envoy listens, and not before', async context => {
  const { node, told, watch, pass, tests } = watched(context)
  node.listening = []
  watch.listeningChanged()
  await pass(1000)
  assert.deepEqual([told, tests(), watch.result('IPv4')], [[], 0, undefined])
  node.listening = ['IPv4']
  watch.listeningChanged()
  await pass(100)
  assert.deepEqual([told, watch.result('IPv4')], [['IPv4 open'], open])
})

test('one failure means nothing, a second one in a row does', async context => {
  const { node, told, watch, pass } = watched(context)
  node.result = blocked
  watch.listeningChanged()
  await pass(100)
  assert.deepEqual(told, [])
  await pass(500)
  assert.deepEqual(told, ['IPv4 blocked'])
})

test('where one family cannot be tested, the other is open', async context => {
  const { node, told, watch, pass } = watched(context)
  node.listening = ['IPv4', 'IPv6']
  node.fails = new Error('no such device')
  node.failing = 'IPv6'
  watch.listeningChanged()
  await pass(100)
  await pass(500)
  assert.deepEqual(told, ['IPv4 open', 'IPv6 blocked'])
})

test('an open path that fails once stays open', async context => {
  const { node, told, watch, pass } = watched(context)
  watch.listeningChanged()
  await pass(100)
  node.result = blocked
  await pass(60_000)
  node.result = open
  await pass(500)
  assert.deepEqual(told, ['IPv4 open'])
})

test('an open path that is blocked later is found, and so is one that heals, tested ever more rarely', async context => {
  const { node, told, watch, pass, tests } = watched(context)
  watch.listeningChanged()
  await pass(100)
  node.result = blocked
  await pass(60_000)
  await pass(500)
  assert.deepEqual([told, tests()], [['IPv4 open', 'IPv4 blocked'], 3])
  await pass(10_000)
  assert.equal(tests(), 4)
  await pass(10_000)
  assert.equal(tests(), 4)
  await pass(10_000)
  assert.equal(tests(), 5)
  node.result = open
  await pass(60_000)
  assert.deepEqual(told, ['IPv4 open', 'IPv4 blocked', 'IPv4 open'])
})

test('a test during which Envoy went away means nothing', async context => {
  const { node, told, watch, pass } = watched(context)
  node.result = blocked
  watch.listeningChanged()
  await pass(100)
  node.listening = []
  await pass(500)
  node.listening = ['IPv4']
  watch.listeningChanged()
  await pass(100)
  assert.deepEqual(told, [])
})

test('the path is tested again for pods that no test covers yet', async context => {
  const { node, told, watch, pass, tests } = watched(context)
  watch.listeningChanged()
  await pass(100)
  node.result = blocked
  watch.podsDiffer()
  await pass(100)
  await pass(500)
  assert.deepEqual([told, tests()], [['IPv4 open', 'IPv4 blocked'], 3])
})

test('a path that cannot be tested counts as blocked, with the reason', async context => {
  const { node, watch, pass } = watched(context)
  node.fails = new Error('ip: not found')
  watch.listeningChanged()
  await pass(100)
  await pass(500)
  assert.deepEqual(watch.result('IPv4'), {
    outcome: 'blocked',
    by: '',
    reason: 'it cannot be tested: ip: not found',
  })
})

test('once stopped it tests no more', async context => {
  const { watch, pass, tests } = watched(context)
  watch.listeningChanged()
  await watch.stop()
  await pass(100_000)
  assert.equal(tests(), 0)
})
