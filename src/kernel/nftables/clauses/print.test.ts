import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rangeBytes } from '../bytes.ts'
import { typesOf } from '../elements/values.ts'
import type { Expression } from '../rules/expression.ts'
import { printRule } from './print.ts'

const payload = (offset: number, length: number): Expression => ({ name: 'payload', base: 1, offset, length, dreg: 1 })
const compare = (op: number, ...bytes: readonly number[]): Expression => {
  return { name: 'cmp', sreg: 1, op, data: Uint8Array.from(bytes) }
}

test('Ranges whose prefix is of whole bytes are compared by those bytes, and printed as ranges', () => {
  assert.equal(printRule('ip6', [payload(8, 4), compare(1, 0xfd, 0, 2, 0x44)]), 'ip6 saddr != fd00:244::/32')
  assert.equal(printRule('ip', [payload(12, 2), compare(1, 10, 244)]), 'ip saddr != 10.244.0.0/16')
  assert.equal(printRule('ip', [payload(16, 4), compare(0, 10, 0, 0, 1)]), 'ip daddr 10.0.0.1')
})

test('Ranges of other prefixes are masked before they are compared', () => {
  const [mask, xor] = [Uint8Array.of(255, 240, 0, 0), new Uint8Array(4)]
  const masked: Expression = { name: 'bitwise', sreg: 1, dreg: 1, length: 4, mask, xor }
  assert.equal(printRule('ip', [payload(16, 4), masked, compare(0, 10, 96, 0, 0)]), 'ip daddr 10.96.0.0/12')
})

test('What puts clients into a set says how long, where that is not the time of the set', () => {
  const update = (timeout: bigint | undefined): Expression => {
    return { name: 'dynset', set: 'clients', op: 1, keyReg: 1, ...(timeout !== undefined && { timeout }) }
  }
  assert.equal(printRule('ip', [payload(12, 4), update(90_000n)]), 'update @clients { ip saddr timeout 1m30s }')
  assert.equal(printRule('ip', [payload(12, 4), update(0n)]), 'update @clients { ip saddr }')
  assert.equal(printRule('ip', [payload(12, 4), update(undefined)]), 'update @clients { ip saddr }')
})

test('Sets that are a part of a rule are printed with it, and what is not known by its name', () => {
  const lookup: Expression = { name: 'lookup', set: '__set0', sreg: 1, flags: 1 }
  const types = typesOf('ip', { name: '', key: ['address'], isInterval: true })
  const elements = ['10.0.0.0/8', '192.0.2.1'].map(range => [rangeBytes(range), ''] as const)
  const inline = (name: string) => (name === '__set0' ? { types, elements } : undefined)
  const drop: Expression = { name: 'immediate', dreg: 0, verdict: { code: 0 } }
  assert.equal(
    printRule('ip', [payload(12, 4), lookup, { name: 'other', type: 'limit' }, drop], inline),
    'ip saddr != { 10.0.0.0/8, 192.0.2.1 } [limit] drop',
  )
})
