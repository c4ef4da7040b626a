import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { canonicalIp } from '../../net/address.ts'
import { canonicalCidr } from '../../net/cidr.ts'
import { readCidr, readIp } from './addresses.ts'

describe('Addresses as Kubernetes reads them', () => {
  for (const [text, ip] of [
    ['10.96.002.005', '10.96.2.5'],
    ['010.000.00.0', '10.0.0.0'],
    ['192.0.2.08', '192.0.2.8'],
    ['::ffff:10.244.1.11', '10.244.1.11'],
    ['::FFFF:10.244.001.011', '10.244.1.11'],
    ['::ffff:af4:10b', '10.244.1.11'],
    ['0:0:0:0:0:ffff:10.0.0.1', '10.0.0.1'],
    ['FD00:0000::0A', 'fd00::a'],
    ['64:ff9b::192.0.2.033', '64:ff9b::c000:221'],
    ['10.96.2.0256', undefined],
    ['10.96.2', undefined],
    ['10.96.2.1.', undefined],
    ['0x0a.0.0.1', undefined],
    ['', undefined],
    [5, undefined],
  ] as const) {
    test(`${JSON.stringify(text)} is ${ip ?? 'none'}`, () => assert.equal(readIp(text), ip))
  }

  for (const [text, range] of [
    ['192.000.002.000/24', '192.0.2.0/24'],
    ['192.0.2.9/024', '192.0.2.0/24'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.0.0.0/90', undefined],
    ['fd00::1/64', 'fd00::/64'],
    ['10.0.0.0/33', undefined],
    ['10.0.0.0', undefined],
    ['/8', undefined],
  ] as const) {
    test(`${JSON.stringify(text)} is ${range ?? 'no range'}`, () => assert.equal(readCidr(text), range))
  }

  test('What is written as it should be is read as it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 128 }), (text, length) => {
        const isMapped = /^::ffff:.*\./.test(canonicalIp(text)!)
        fc.pre(!isMapped)
        assert.equal(readIp(text), canonicalIp(text))
        assert.equal(readCidr(`${text}/${length}`), canonicalCidr(`${text}/${length}`))
      }),
    )
  })

  test('Zeros before the numbers of an IPv4 address change nothing', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 4, maxLength: 4 }), (ip, zeros) => {
        const padded = ip.split('.').map((part, index) => '0'.repeat(zeros[index]!) + part)
        assert.equal(readIp(padded.join('.')), ip)
      }),
    )
  })
})
