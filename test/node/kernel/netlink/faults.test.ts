/**
 * What goes wrong between the kernel and a netlink socket. Where the kernel cannot be made to do it, a second socket says
 * it in its stead: what that sends is there before the kernel's own answer to the next request, with that one's number.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectSocket, inNewNetwork, waitReadable } from '../../../../src/kernel/netlink/libc.ts'
import { MalformedMessage, readAttributes } from '../../../../src/kernel/netlink/reader.ts'
import { type NetlinkProtocol, NetlinkSocket, type Request } from '../../../../src/kernel/netlink/socket.ts'
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts'
import { Nftables } from '../../../../src/kernel/nftables/client.ts'
import { tableOf } from '../../../../src/kernel/nftables/rules/ruleset.ts'
import { fixedSet } from '../../../../src/kernel/nftables/sets.ts'
import { KernelTables } from '../../../../src/kernel/nftables/sync/table.ts'
import { applyBatch } from '../../../../src/kernel/nftables/wire/batch.ts'
import { messageType } from '../../../../src/kernel/nftables/wire/messages.ts'
import { element, portState, testOptions } from '../../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../../src/lab/leftovers.ts'
import { run, runIn } from '../../../../src/lab/processes.ts'
import { needsRoot } from '../lab.ts'

const [newLink, getLink] = [16, 18]
const flags = { multi: 2, interrupted: 0x10 }
const linkHeader = Buffer.alloc(16)
const links: Request = { type: getLink, body: writer => writer.raw(linkHeader) }
const addresses: Request = { type: 22, body: writer => writer.raw(Buffer.alloc(8)) }
const nameOf = ({ body }: { body: Buffer }) => readAttributes(body, 16).text(3)

/** Sends to the socket with this port as if it were the kernel. */
function pretender(protocol: NetlinkProtocol, port: number, netns?: string): NetlinkSocket {
  const socket = new NetlinkSocket(protocol, { netns })
  const address = Buffer.alloc(12)
  address.writeUInt16LE(16)
  address.writeUInt32LE(port, 4)
  connectSocket(socket.fd, address)
  return socket
}

/** A link of a dump that nobody has. */
function ghost(sequence: number, extra = 0): Buffer {
  const writer = new MessageWriter()
  writer.message(newLink, flags.multi | extra, sequence, body => body.raw(linkHeader).text(3, 'ghost').u32(13, 0))
  return Buffer.from(writer.bytes)
}

describe('Between the kernel and a socket', needsRoot, () => {
  const port = 0x4c50_0100
  const [socket, kernel] = inNewNetwork(() => [new NetlinkSocket('route', { port }), pretender('route', port)] as const)
  after(() => {
    socket.close()
    kernel.close()
  })
  const nextSequence = () => socket.nextSequence() + 1

  test('what is said in place of the kernel is read as its answer, so the tests below mean something', () => {
    kernel.send(ghost(nextSequence()))
    assert.deepEqual(socket.dumpNow(links, nameOf), ['ghost', 'lo'])
  })

  test('a dump that a change interrupted is read again, and nothing of the first is kept', async () => {
    kernel.send(ghost(nextSequence(), flags.interrupted))
    assert.deepEqual(socket.dumpNow(links, nameOf), ['lo'])
    kernel.send(ghost(nextSequence(), flags.interrupted))
    assert.deepEqual(await socket.dump(links, nameOf), ['lo'])
  })

  test('a dump that is cut short is an error that says so, wherever it is cut, and the next one is whole', () => {
    const { length } = ghost(0)
    for (let cut = 1; cut < length; cut++) {
      kernel.send(ghost(nextSequence()).subarray(0, length - cut))
      assert.throws(() => socket.dumpNow(links, nameOf), MalformedMessage, `${cut} bytes less`)
      // What the kernel still says of the dump that was given up is no answer to another question.
      assert.deepEqual(
        socket.dumpNow(addresses, ({ type }) => type),
        [],
      )
      assert.deepEqual(socket.dumpNow(links, nameOf), ['lo'])
    }
  })

  test('a datagram that is longer than the buffer is not taken for a whole one: the dump is read again', () => {
    const sequence = nextSequence()
    kernel.send(Buffer.concat(Array.from({ length: 2000 }, () => ghost(sequence))))
    assert.deepEqual(socket.dumpNow(links, nameOf), ['lo'])
  })

  test('a call that a signal interrupts is made again', async () => {
    let signals = 0
    const count = () => void signals++
    process.on('SIGWINCH', count)
    const script = `for i in 1 2 3; do sleep 0.1; kill -WINCH ${process.pid}; done`
    const sender = spawn('sh', ['-c', script], { stdio: 'ignore' })
    try {
      assert.equal(waitReadable(socket.fd, 1000), false)
      await once(sender, 'exit')
      await delay(10)
      assert.ok(signals > 0)
    } finally {
      process.off('SIGWINCH', count)
    }
  })
})

describe('Between nf_tables and the agent', needsRoot, () => {
  const netns = `lp-faults-${process.pid}`
  const path = netnsPath(netns)
  after(() => run('ip', ['netns', 'delete', netns]))

  test('a truncated dump of our table loses nothing, and the next use works', async () => {
    await run('ip', ['netns', 'add', netns])
    const port = 0x4c50_0101
    const nft = new Nftables(path, port)
    await runIn(netns, 'nft', ['table ip lightpath { chain one {}; chain two {}; }'])
    assert.equal(await nft.hasChain('ip', 'one'), true)
    const kernel = pretender('netfilter', port, path)
    const sequence = await nft.use(socket => socket.nextSequence() + 1)
    const writer = new MessageWriter()
    writer.message(messageType('newChain'), flags.multi, sequence, body =>
      body
        .raw(Uint8Array.of(2, 0, 0, 0))
        .text(1, 'lightpath')
        .text(3, 'ghost')
        .be32(6, 0),
    )
    // Before its last attribute: what is there looks whole.
    kernel.send(writer.bytes.subarray(0, writer.length - 8))
    await assert.rejects(nft.chains('ip'), /netlink message malformed/)
    assert.deepEqual(await nft.chains('ip'), ['one', 'two'])
    kernel.close()
    nft.close()
    await runIn(netns, 'nft', ['flush ruleset'])
  })

  test('more changes than there is room for lead to a comparison, which finds what is missing', async () => {
    await run('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
    const tables = new KernelTables({ ...testOptions, netns: path, prefix: ['nsenter', `--net=${path}`] })
    await tables.start()
    tables.setPort(portState('a/web/http', '10.96.0.1', ['10.1.0.1:80']))
    tables.synced()
    await tables.settled()
    const set = fixedSet('services')
    const text = `table ip other { map ${set.name} { type ipv4_addr . inet_proto . inet_service : verdict; }; }`
    await runIn(netns, 'nft', [text])
    const other = new NetlinkSocket('netfilter', { netns: path })
    other.setBuffer('sendForce', 32 * 1024 * 1024)
    const { key } = element('ip', set.name, '10.96.0.1 . tcp . 80')
    const reader = new Nftables(path)
    const services = () => reader.keys('ip', set.name)
    try {
      // Nobody reads meanwhile, so what is said of the last change finds no room.
      for (let turn = 0; turn < 600; turn++) {
        const start = `10.${turn >> 8}.${turn & 255}`
        const elements = Array.from({ length: 200 }, (_, n) =>
          element('ip', set.name, `${start}.${n} . tcp . 80`, 'drop'),
        )
        await applyBatch(other, [{ do: 'add', table: { family: 'ip', name: 'other' }, set, elements }])
      }
      await applyBatch(other, [{ do: 'delete', table: tableOf('ip'), set, elements: [{ key, value: '' }] }])
      for (let tries = 0; tries < 300 && !(await services())?.includes(key); tries++) await delay(100)
      assert.deepEqual(await services(), [key])
    } finally {
      other.close()
      reader.close()
      await tables.close()
    }
  })
})
