import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalIp } from '../../net/address.ts'
import { ipBytes, ipText } from '../../net/ipbytes.ts'
import { NetlinkError, readDone, readError } from './answer.ts'
import { readFlow } from './ctnetlink.ts'
import { readProgress } from './progress.ts'
import { type Attributes, MalformedMessage, readAttributes, readMessages, required } from './reader.ts'
import { readLink } from './route/links.ts'
import { readRoute } from './route/routes.ts'
import { readRule } from './route/rules.ts'
import { silenceOf } from './silence.ts'
import { readTcpSocket } from './sockdiag.ts'
import { MessageWriter } from './writer.ts'

type Tree = readonly { readonly type: number; readonly value: Uint8Array | Tree }[]

const { trees } = fc.letrec<{ trees: Tree }>(tie => ({
  trees: fc.uniqueArray(
    fc.record({
      type: fc.integer({ min: 1, max: 0x3fff }),
      value: fc.oneof({ maxDepth: 3 }, fc.uint8Array({ maxLength: 40 }), tie('trees')),
    }),
    { selector: ({ type }) => type, maxLength: 4 },
  ),
}))

function write(writer: MessageWriter, tree: Tree): void {
  for (const { type, value } of tree) {
    if (value instanceof Uint8Array) writer.bytesOf(type, value)
    else writer.nested(type, () => write(writer, value))
  }
}

function expectSame(attributes: Attributes, tree: Tree): void {
  assert.deepEqual(
    [...attributes.keys()],
    tree.map(({ type }) => type),
  )
  for (const { type, value } of tree) {
    if (value instanceof Uint8Array) assert.deepEqual(new Uint8Array(attributes.get(type)!), value)
    else expectSame(attributes.nested(type)!, value)
  }
}

const messages = fc.array(
  fc.record({
    type: fc.integer({ min: 0, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    sequence: fc.integer({ min: 0, max: 0xffff_ffff }),
    header: fc.uint8Array({ maxLength: 20 }),
    tree: trees,
  }),
  { maxLength: 5 },
)

test('What was written is read as it was: messages, their headers, attributes, and attributes in them', () => {
  fc.assert(
    fc.property(messages, all => {
      const writer = new MessageWriter()
      for (const { type, flags, sequence, header, tree } of all)
        writer.message(type, flags, sequence, () => write(writer.raw(header), tree))
      const read = readMessages(writer.bytes)
      assert.equal(read.length, all.length)
      for (const [index, { type, flags, sequence, header, tree }] of all.entries()) {
        const message = read[index]!
        assert.deepEqual([message.type, message.flags, message.sequence], [type, flags, sequence])
        expectSame(readAttributes(message.body, (header.length + 3) & ~3), tree)
      }
    }),
  )
})

test('A number is read as it was written, in either byte order; text without its zero byte', () => {
  const writer = new MessageWriter()
  const write32 = (w: MessageWriter) =>
    w
      .u32(3, 0xdead_beef)
      .be32(4, 0xdead_beef)
      .be64(5, 2n ** 63n)
  writer.message(1, 0, 1, w =>
    write32(w.u8(1, 7).u16(2, 0xbeef)).be16(6, 80).text(7, 'lo').flag(8).address(9, 'fd00::1'),
  )
  const [message] = readMessages(writer.bytes)
  const read = readAttributes(message!.body)
  assert.deepEqual([read.u8(1), read.u16(2), read.u32(3)], [7, 0xbeef, 0xdead_beef])
  assert.deepEqual([read.be32(4), read.be64(5), read.be16(6)], [0xdead_beef, 2n ** 63n, 80])
  assert.deepEqual([read.text(7), read.has(8), read.address(9), read.u8(10)], ['lo', true, 'fd00::1', undefined])
  assert.throws(() => read.u32(1), MalformedMessage)
  assert.throws(() => required(read.u8(10), 'number'), MalformedMessage)
})

/** Does all that can be done with bytes; must throw nothing but MalformedMessage. */
function readEverything(bytes: Buffer): void {
  for (const message of readMessages(bytes)) {
    attempt(() => readFlow(message))
    for (const read of [readTcpSocket, silenceOf, readProgress, readRule, readRoute, readLink])
      attempt(() => read(message))
    readError(message)
    readDone(message)
    const attributes = readAttributes(message.body)
    for (const type of attributes.keys()) {
      for (const get of ['u8', 'u16', 'u32', 'be16', 'be32', 'be64', 'address', 'text', 'nested', 'list'] as const)
        attempt(() => attributes[get](type))
    }
  }
}

function attempt(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
  }
}

test('Whatever the bytes are, reading throws its own error and nothing else, and sees nothing beyond them', () => {
  const almost = fc
    .tuple(messages, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 5 }), fc.nat(400))
    .map(([all, changes, length]) => {
      const writer = new MessageWriter()
      for (const { type, flags, sequence, tree } of all)
        writer.message(type, flags, sequence, () => write(writer, tree))
      const bytes = Buffer.from(writer.bytes)
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      return new Uint8Array(bytes.subarray(0, length))
    })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), almost), bytes => {
      const seen = (around: number) => {
        const room = Buffer.alloc(bytes.length + 64, around)
        room.set(bytes)
        const found: unknown[] = []
        attempt(() => {
          for (const { type, body } of readMessages(room.subarray(0, bytes.length))) {
            found.push(type)
            attempt(() => found.push([...readAttributes(body)].map(([key, value]) => [key, value.toString('hex')])))
          }
        })
        return found
      }
      attempt(() => readEverything(Buffer.from(bytes)))
      assert.deepEqual(seen(0), seen(255))
    }),
    { numRuns: 2000 },
  )
})

test('A refusal says its name, its request, and what the kernel says in words', () => {
  const text = new MessageWriter()
  text.message(2, 0x300, 7, w => {
    const body = Buffer.alloc(20)
    body.writeInt32LE(-17)
    body.writeUInt32LE(100, 4)
    w.raw(body).text(1, 'exists already')
  })
  const error = readError(readMessages(text.bytes)[0]!)
  assert.ok(error instanceof NetlinkError)
  assert.deepEqual([error.code, error.sequence, error.message], ['EEXIST', 7, 'EEXIST: exists already'])
})

test('An attribute that is too long for its header is not written', () => {
  const writer = new MessageWriter()
  assert.throws(() => writer.bytesOf(1, new Uint8Array(65_532)), RangeError)
  assert.throws(() => writer.nested(1, w => w.bytesOf(1, new Uint8Array(65_528))), RangeError)
})

test('Addresses are the same in bytes and in canonical text', () => {
  const any = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.array(fc.constantFrom('0', '0', '1', 'ffff'), { minLength: 8, maxLength: 8 }).map(groups => groups.join(':')),
  )
  fc.assert(fc.property(any, ip => assert.equal(ipText(ipBytes(ip)), canonicalIp(ip))))
})

test('Without node:ffi the start says what is missing and what to do', () => {
  const file = new URL('libc.ts', import.meta.url).pathname
  const said = (...flags: readonly string[]) =>
    execFileSync(
      process.execPath,
      [...flags, '--input-type=module', '-e', `console.log((await import('${file}')).libcProblem()?.reason)`],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    ).trim()
  assert.equal(said(), 'undefined')
  assert.match(said('--no-experimental-ffi'), /^Node\.js v\S+ has no module node:ffi$/)
})
