import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClientAddressChoice, forwarded } from './clientaddress.ts'
import { ClientAddressWatch } from './clientaddresswatch.ts'

const proven: ClientAddressChoice = { setting: 'auto', mode: 'preserve', why: 'proven' }
const times = { initial: forwarded('at the start'), settleMs: 0, shortestMs: 1, longestMs: 2 }

test('each finding is reported once; an untried proof stands, and an obstacle ends it', async () => {
  const untried = { ...forwarded('no Envoy'), isUndecided: true }
  const found = [untried, forwarded('a bridge'), forwarded('a bridge'), proven, proven, untried, forwarded('a rule')]
  const told: ClientAddressChoice[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const watch = new ClientAddressWatch({
    ...times,
    prove: async () => found.shift() ?? forwarded('a rule'),
    onChoice: async choice => {
      told.push(choice)
      if (choice.why === forwarded('a rule').why) resolve()
    },
  })
  watch.probe()
  await promise
  await watch.stop()
  assert.deepEqual(told, [untried, forwarded('a bridge'), proven, forwarded('a rule')])
})

test('what an earlier run has proven stands where it cannot be tried', async () => {
  const told: ClientAddressChoice[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  let probes = 0
  const watch = new ClientAddressWatch({
    ...times,
    initial: { ...proven, why: 'an earlier run' },
    prove: async () => {
      if (++probes === 3) resolve()
      return probes === 1 ? { ...forwarded('no Envoy'), isUndecided: true } : proven
    },
    onChoice: async choice => void told.push(choice),
  })
  watch.probe()
  await promise
  await watch.stop()
  assert.deepEqual(told, [])
})

test('a change during a probe starts another one soon after', async () => {
  let probes = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const watch = new ClientAddressWatch({
    ...times,
    shortestMs: 1e6,
    longestMs: 1e6,
    prove: async () => {
      await Promise.resolve()
      if (++probes === 1) watch.probe()
      else resolve()
      return forwarded('no pod')
    },
    onChoice: async () => {},
  })
  watch.probe()
  await promise
  await watch.stop()
  assert.equal(probes, 2)
})
