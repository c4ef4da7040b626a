import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClientAddressChoice, forwarded } from './clientaddress.ts'
import { ClientAddressWatch } from './clientaddresswatch.ts'

const proven: ClientAddressChoice = { setting: 'auto', mode: 'preserve', why: 'proven' }
const times = { settleMs: 0, shortestMs: 1, longestMs: 2 }

test('it is looked until there is a proof; each reason is told once, and nothing after the proof', async () => {
  const found = [forwarded('no pod'), forwarded('no pod'), forwarded('a bridge'), proven, forwarded('never asked')]
  const told: ClientAddressChoice[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const watch = new ClientAddressWatch({
    ...times,
    prove: async () => found.shift()!,
    onChoice: async choice => {
      told.push(choice)
      if (choice.mode === 'preserve') resolve()
    },
  })
  watch.look()
  await promise
  watch.look()
  await watch.stop()
  assert.deepEqual(told, [forwarded('no pod'), forwarded('a bridge'), proven])
  assert.deepEqual(found, [forwarded('never asked')])
})

test('what comes during a look is looked at soon after', async () => {
  let looks = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const watch = new ClientAddressWatch({
    ...times,
    shortestMs: 1e6,
    longestMs: 1e6,
    prove: async () => {
      await Promise.resolve()
      if (++looks === 1) watch.look()
      else resolve()
      return forwarded('no pod')
    },
    onChoice: async () => {},
  })
  watch.look()
  await promise
  await watch.stop()
  assert.equal(looks, 2)
})
