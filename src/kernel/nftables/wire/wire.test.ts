import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NetlinkError } from '../../netlink/answer.ts'
import { MalformedMessage, readAttributes, readMessages } from '../../netlink/reader.ts'
import { MessageWriter } from '../../netlink/writer.ts'
import { element } from '../../testing/states.ts'
import { clientsSet } from '../elements/affinity.ts'
import { clientsKey, frontendKey } from '../elements/ownobjects.ts'
import { keyValueText, typesOf } from '../elements/values.ts'
import type { SetElement } from '../operations.ts'
import type { Expression } from '../rules/expression.ts'
import { fixedSet, fixedSets, growingSize } from '../sets.ts'
import { ElementReader, writeElement } from './elements.ts'
import { readExpressions, writeExpressions } from './expression.ts'
import { setAttributes, writeSet } from './sets.ts'

/** fast-check's records have no prototype. */
const plain = <T>(value: T): T => structuredClone(value)

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const bytes = fc.uint8Array({ minLength: 1, maxLength: 20 })
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)

const expression: fc.Arbitrary<Expression> = fc.oneof(
  fc.record({ name: fc.constant('payload' as const), base: u32, offset: u32, length: u32, dreg: u32 }),
  fc.record({ name: fc.constant('meta' as const), key: u32, dreg: u32 }),
  fc.record({ name: fc.constant('ct' as const), key: u32, dreg: u32, direction: fc.integer({ min: 0, max: 1 }) }),
  fc.record({ name: fc.constant('cmp' as const), sreg: u32, op: u32, data: bytes }),
  fc.record({ name: fc.constant('bitwise' as const), sreg: u32, dreg: u32, length: u32, mask: bytes, xor: bytes }),
  fc.record({ name: fc.constant('lookup' as const), set: name, sreg: u32, dreg: u32, flags: u32 }),
  fc.record({ name: fc.constant('immediate' as const), dreg: u32, data: bytes }),
  fc.record({
    name: fc.constant('immediate' as const),
    dreg: u32,
    verdict: fc.record({ code: fc.integer({ min: -5, max: 1 }), chain: name }),
  }),
  fc.record({
    name: fc.constant('dynset' as const),
    set: name,
    op: u32,
    keyReg: u32,
    timeout: fc.bigInt(0n, 2n ** 63n),
  }),
  fc.record({ name: fc.constant('nat' as const), type: u32, family: u32, addressMin: u32, portMin: u32, flags: u32 }),
  fc.record({ name: fc.constant('reject' as const), type: u32, code: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ name: fc.constant('objref' as const), type: u32, object: name }),
)

/** The attributes of one message that was written. */
function attributesOf(write: (writer: MessageWriter) => void) {
  const writer = new MessageWriter()
  writer.message(1, 0, 1, write)
  const [message] = readMessages(Buffer.from(writer.bytes))
  return readAttributes(message!.body)
}

test('Expressions are read as they were written', () => {
  fc.assert(
    fc.property(fc.array(expression, { maxLength: 8 }).map(plain), expressions => {
      const attributes = attributesOf(writer => writeExpressions(writer, 4, expressions))
      assert.deepEqual(readExpressions(attributes.list(4)), expressions)
    }),
  )
})

const port = fc.integer({ min: 0, max: 65_535 })
const addresses = {
  ip: fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map(parts => parts.join('.')),
  ip6: fc.tuple(fc.integer({ min: 1, max: 0xfff }), fc.integer({ min: 1, max: 0xfff })).map(([a, b]) => {
    return `fd00:${a.toString(16)}::${b.toString(16)}`
  }),
}
const transport = fc.constantFrom('tcp', 'udp', 'sctp')

/** Elements of a set of the fixed part. */
function elementsOf(family: 'ip' | 'ip6', set: string): fc.Arbitrary<readonly SetElement[]> {
  const definition = fixedSet(set)
  const parts = definition.key.map(type => {
    if (type === 'address') return addresses[family]
    if (type === 'inet_proto') return transport
    return type === 'ether_type' ? fc.constant(family) : port.map(String)
  })
  const value =
    definition.data === undefined
      ? fc.constant('')
      : definition.data === 'verdict'
        ? fc.constantFrom('drop', 'goto refuse', 'jump mark-masquerade')
        : fc.tuple(addresses[family], port).map(parts => parts.join(' . '))
  const keys = fc.tuple(...parts).map(parts => parts.join(' . '))
  const words = fc.record({ key: keys, value })
  return fc
    .uniqueArray(words, { selector: ({ key }) => key, maxLength: 20 })
    .map(some => some.map(({ key, value }) => element(family, set, key, value)))
}

function readBack(family: 'ip' | 'ip6', set: string, elements: readonly SetElement[]): readonly SetElement[] {
  const definition = fixedSet(set)
  const attributes = attributesOf(writer => {
    writer.nested(3, list => {
      for (const element of elements) writeElement(list, definition, element)
    })
  })
  const reader = new ElementReader(typesOf(family, definition))
  reader.read(attributes.get(3)!)
  return reader.end().elements.map(([key, value]) => ({ key, value }))
}

const byKey = (elements: readonly SetElement[]) => elements.toSorted((a, b) => (a.key < b.key ? -1 : 1))

for (const family of ['ip', 'ip6'] as const) {
  test(`Elements of each of our sets are read as they were written: ${family}`, () => {
    for (const set of fixedSets.filter(({ isInterval }) => !isInterval)) {
      fc.assert(
        fc.property(elementsOf(family, set.name), elements => {
          assert.deepEqual(byKey(readBack(family, set.name, elements)), byKey(elements))
        }),
        { numRuns: 20 },
      )
    }
  })
}

test('Ranges are read as they were written, beside each other, over everything, and up to the last address', () => {
  for (const [family, ranges] of [
    ['ip', ['0.0.0.0/0']],
    ['ip6', ['::/0']],
    ['ip', ['0.0.0.0/5', '8.0.0.0/7', '11.0.0.0/8', '12.0.0.0/6', '128.0.0.0/1']],
    ['ip', ['10.0.0.1', '10.0.0.2', '10.0.0.4/30', '255.255.255.255']],
    ['ip6', ['::/8', 'fd00::/64', 'ffff::/16']],
  ] as const) {
    const elements = ranges.map(range => element(family, 'outside', range))
    assert.deepEqual(byKey(readBack(family, 'outside', elements)), byKey(elements))
  }
})

test('No bytes of the kernel make reading throw anything but MalformedMessage', () => {
  const reading = (work: () => unknown) => {
    try {
      work()
    } catch (error) {
      assert.ok(error instanceof MalformedMessage || error instanceof NetlinkError, String(error))
    }
  }
  const sets = ['services', 'outside', 'endpoints-tcp'].map(name => typesOf('ip6', fixedSet(name)))
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(expression, { maxLength: 3 }),
      fc.nat(),
      (noise, some, at) => {
        const writer = new MessageWriter()
        writer.message(1, 0, 1, body => writeExpressions(body, 4, some))
        const broken = Buffer.from(writer.bytes.subarray(16))
        if (broken.length > 0) broken[at % broken.length] = at & 255
        for (const bytes of [Buffer.from(noise), broken]) {
          reading(() => readExpressions(readAttributes(bytes).list(4)))
          for (const set of sets) {
            reading(() => {
              const reader = new ElementReader(set)
              reader.read(readAttributes(bytes).get(4) ?? bytes)
              for (const [key, value] of reader.end().elements) keyValueText(set, key, value)
            })
          }
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('The kernel makes room for the clients of an endpoint as they come, and at once for a set whose size it is told', () => {
  const place = frontendKey('10.0.0.1', 'tcp', 80)
  const sizeOf = (most: number) => {
    const set = clientsSet('ip', clientsKey(place, { ip: '10.1.0.1', port: 8080 }, most))
    const attributes = attributesOf(writer => writeSet(writer, 'ip', 'lightpath', set, 1))
    return attributes.has(setAttributes.description)
  }
  assert.deepEqual([growingSize, 4096].map(sizeOf), [false, true])
})
