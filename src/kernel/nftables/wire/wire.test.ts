import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NetlinkError } from '../../netlink/answer.ts'
import { MalformedMessage, readAttributes, readMessages } from '../../netlink/reader.ts'
import { MessageWriter } from '../../netlink/writer.ts'
import type { SetElement } from '../operations.ts'
import type { Expression } from '../rules/expression.ts'
import { fixedSet, fixedSets, type SetDefinition } from '../sets.ts'
import { ElementReader, elementWriter } from './elements.ts'
import { readExpressions, writeExpressions } from './expression.ts'
import { keyTypes } from './sets.ts'
import { typeOf } from './types.ts'

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

/** A set of the fixed part, and elements of it in the words of the agent. */
function elementsOf(family: 'ip' | 'ip6', set: string): fc.Arbitrary<readonly SetElement[]> {
  const definition = fixedSet(set)
  const words = definition.key.map(type => {
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
  const key = fc.tuple(...words).map(parts => parts.join(' . '))
  return fc.uniqueArray(fc.record({ key, value }), { selector: element => element.key, maxLength: 20 }).map(plain)
}

/** As other programs have them. */
const concatenated: SetDefinition = {
  name: 'sources',
  key: ['address', 'inet_proto', 'inet_service', 'address'],
  isInterval: true,
}

function readBack(
  family: 'ip' | 'ip6',
  definition: SetDefinition,
  elements: readonly SetElement[],
): readonly SetElement[] {
  const write = elementWriter(family, definition)
  const attributes = attributesOf(writer => {
    writer.nested(3, list => {
      for (const element of elements) write(list, element)
    })
  })
  const found: SetElement[] = []
  const reader = new ElementReader(
    {
      key: keyTypes(family, definition),
      data: definition.data === 'verdict' ? 'verdict' : (definition.data ?? []).map(type => typeOf(family, type)),
      isInterval: definition.isInterval === true,
    },
    element => void found.push(element),
  )
  reader.read(attributes.list(3))
  reader.end()
  return found
}

const byKey = (elements: readonly SetElement[]) => elements.toSorted((a, b) => (a.key < b.key ? -1 : 1))

for (const family of ['ip', 'ip6'] as const) {
  test(`Elements of each of our sets are read as they were written: ${family}`, () => {
    for (const set of fixedSets.filter(({ isInterval, key }) => !isInterval || key.length > 1)) {
      fc.assert(
        fc.property(elementsOf(family, set.name), elements => {
          assert.deepEqual(byKey(readBack(family, set, elements)), byKey(elements))
        }),
        { numRuns: 20 },
      )
    }
  })
}

test('Ranges are read as they were written, beside each other, over everything, and up to the last address', () => {
  const ranges = (...keys: readonly string[]) => keys.map(key => ({ key, value: '' }))
  for (const [family, elements] of [
    ['ip', ranges('0.0.0.0/0')],
    ['ip6', ranges('::/0')],
    ['ip', ranges('0.0.0.0/5', '8.0.0.0/7', '11.0.0.0/8', '12.0.0.0/6', '128.0.0.0/1')],
    ['ip', ranges('10.0.0.1', '10.0.0.2', '10.0.0.4/30', '255.255.255.255')],
    ['ip6', ranges('::/8', 'fd00::/64', 'ffff::/16')],
  ] as const) {
    assert.deepEqual(byKey(readBack(family, fixedSet('outside'), elements)), byKey(elements))
  }
  const sources = ranges('192.0.2.1 . tcp . 80 . 10.0.0.0/8', '192.0.2.1 . tcp . 80 . 192.0.2.7')
  assert.deepEqual(readBack('ip', concatenated, sources), sources)
})

test('No bytes of the kernel make reading throw anything but MalformedMessage', () => {
  const reading = (work: () => unknown) => {
    try {
      work()
    } catch (error) {
      assert.ok(error instanceof MalformedMessage || error instanceof NetlinkError, String(error))
    }
  }
  const types = { key: keyTypes('ip', fixedSet('services')), data: 'verdict', isInterval: false } as const
  const ranges = { key: keyTypes('ip6', fixedSet('outside')), data: [], isInterval: true } as const
  const sources = { key: keyTypes('ip', concatenated), data: [], isInterval: true } as const
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
          for (const set of [types, ranges, sources]) {
            reading(() => {
              const reader = new ElementReader(set, () => {})
              reader.read(readAttributes(bytes).list(4))
              reader.end()
            })
          }
        }
      },
    ),
    { numRuns: 2000 },
  )
})
