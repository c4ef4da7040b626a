import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Family } from '../../../family.ts'
import { element, named } from '../../../testing/states.ts'
import type { SetName } from '../../elements/elements.ts'
import { operationsText } from '../../operations.ts'
import { Transaction } from './transaction.ts'

function add(
  transaction: Transaction,
  family: Family,
  set: SetName,
  key: string,
  value: string,
  chains: ReadonlySet<string> = new Set(),
): void {
  transaction.add(named(family, set, key), element(family, set, key, value).value, chains)
}

const textOf = (transaction: Transaction) => operationsText(transaction.operations())

test('A transaction adds a chain before what jumps to it, and removes before it adds', () => {
  const transaction = new Transaction()
  add(transaction, 'ip', 'envoy', '10.0.0.1 . 80', '')
  add(transaction, 'ip', 'services', '10.0.0.1 . tcp . 80', 'goto endpoints-tcp-1', new Set(['ip6 endpoints-tcp-1']))
  add(transaction, 'ip', 'endpoints-tcp', '10.0.0.1 . 80 . 0', '10.1.0.1 . 8080')
  transaction.remove(named('ip', 'endpoints-udp', '10.0.0.9 . 53 . 0'))
  transaction.remove(named('ip', 'envoy', '10.0.0.9 . 80'))
  transaction.remove(named('ip', 'services', '10.0.0.9 . udp . 53'))
  assert.equal(
    textOf(transaction),
    `table ip lightpath {
  chain endpoints-tcp-1 {
    dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
  }
}
delete element ip lightpath envoy { 10.0.0.9 . 80 }
delete element ip lightpath services { 10.0.0.9 . udp . 53 }
delete element ip lightpath endpoints-udp { 10.0.0.9 . 53 . 0 }
add element ip lightpath endpoints-tcp { 10.0.0.1 . 80 . 0 : 10.1.0.1 . 8080 }
add element ip lightpath services { 10.0.0.1 . tcp . 80 : goto endpoints-tcp-1 }
add element ip lightpath envoy { 10.0.0.1 . 80 }
`,
  )
})

test('A chain that exists is not added again, not even twice within a transaction', () => {
  const transaction = new Transaction()
  add(transaction, 'ip', 'services', '10.0.0.1 . tcp . 80', 'goto endpoints-tcp-3', new Set(['ip endpoints-tcp-3']))
  add(transaction, 'ip', 'services', '10.0.0.2 . tcp . 80', 'goto endpoints-tcp-4')
  add(transaction, 'ip', 'services', '10.0.0.3 . tcp . 80', 'goto endpoints-tcp-4')
  assert.deepEqual(textOf(transaction).match(/chain \S+/g), ['chain endpoints-tcp-4'])
})

test('Elements of both families go into one transaction', () => {
  const transaction = new Transaction()
  add(transaction, 'ip6', 'envoy', 'fd00::1 . 80', '')
  add(transaction, 'ip', 'envoy', '10.0.0.1 . 80', '')
  assert.equal(
    textOf(transaction),
    'add element ip lightpath envoy { 10.0.0.1 . 80 }\nadd element ip6 lightpath envoy { fd00::1 . 80 }\n',
  )
})
