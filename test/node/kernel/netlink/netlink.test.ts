/** Netlink with the real kernel, in network namespaces that last as long as their sockets. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { flags, type NetlinkError } from '../../../../src/kernel/netlink/answer.ts'
import { credentialsOf } from '../../../../src/kernel/netlink/credentials.ts'
import { inNewNetwork, SystemCallError, socketOption } from '../../../../src/kernel/netlink/libc.ts'
import { subscribe } from '../../../../src/kernel/netlink/notifications.ts'
import { readAttributes } from '../../../../src/kernel/netlink/reader.ts'
import { NetlinkSocket, type Request } from '../../../../src/kernel/netlink/socket.ts'
import { needsRoot } from '../lab.ts'

const [newLink, getLink, newRule, delRule, getRule] = [16, 18, 32, 33, 34]
const linkHeader = Buffer.alloc(16)
const ipv4Rule = Buffer.from([2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0])

const rule = (type: number, priority: number): Request => ({
  type,
  flags: type === newRule ? flags.create | flags.exclusive : 0,
  body: writer => writer.raw(ipv4Rule).u32(6, priority),
})

function link(name: string): Request {
  return {
    type: newLink,
    flags: flags.create | flags.exclusive,
    body: writer =>
      writer
        .raw(linkHeader)
        .text(3, name)
        .nested(18, info => info.text(1, 'bridge')),
  }
}

const allLinks: Request = { type: getLink, body: writer => writer.raw(linkHeader) }
const nameOf = ({ body }: { body: Buffer }) => readAttributes(body, 16).text(3)

describe('Netlink speaks with the kernel', needsRoot, () => {
  const socket = inNewNetwork(() => new NetlinkSocket('route'))
  after(() => socket.close())

  test('A namespace of its own: what is there is dumped, what is made is there afterwards', () => {
    assert.deepEqual(socket.dumpNow(allLinks, nameOf), ['lo'])
    socket.request(link('one'))
    assert.deepEqual(socket.dumpNow(allLinks, nameOf), ['lo', 'one'])
    const own = new NetlinkSocket('route')
    assert.ok(!own.dumpNow(allLinks, nameOf).includes('one'), 'this process is back in its own namespace')
    own.close()
  })

  test('A refusal has its name, and what the kernel says in words', () => {
    assert.throws(() => socket.request(link('one')), { name: 'NetlinkError', code: 'EEXIST' })
    const wrong: Request = { ...link('two'), body: writer => writer.raw(linkHeader).u32(3, 0).text(18, '') }
    assert.throws(
      () => socket.request(wrong),
      (error: NetlinkError) => error.code !== '' && error.text !== undefined,
    )
  })

  test('A long dump comes in many datagrams and is whole; the event loop may turn meanwhile', async () => {
    for (let priority = 1000; priority < 3000; priority++) socket.request(rule(newRule, priority))
    const rules: Request = { type: getRule, body: writer => writer.raw(Buffer.from([2, ...Array<number>(11).fill(0)])) }
    const priorities = await socket.dump(rules, ({ body }) => readAttributes(body, 12).u32(6))
    assert.equal(priorities.filter(priority => priority >= 1000 && priority < 3000).length, 2000)
    socket.request(rule(delRule, 1000))
    assert.equal(socket.dumpNow(rules, () => true).length, 2002)
  })

  test('What others change is told', async () => {
    const told: string[] = []
    const waiting = Promise.withResolvers<void>()
    const end = inNewNetwork(() => {
      const writing = new NetlinkSocket('route')
      const stop = subscribe({
        protocol: 'route',
        groups: [1],
        onMessage: message => {
          told.push(nameOf(message)!)
          waiting.resolve()
        },
        onLost: () => {},
      })
      setTimeout(() => writing.request(link('three')), 10)
      return () => {
        stop()
        writing.close()
      }
    })
    // A subscription does not keep the process alive by itself.
    const alive = setTimeout(() => waiting.reject(new Error('nothing was told')), 5000)
    await waiting.promise
    clearTimeout(alive)
    end()
    assert.deepEqual(told, ['three'])
  })

  test('Where more is told than there is room for, that is told', async () => {
    const lost = Promise.withResolvers<void>()
    const [writing, end] = inNewNetwork(() => {
      const subscription = { protocol: 'route', groups: [8], receiveBuffer: 1, onMessage: () => {} } as const
      return [new NetlinkSocket('route'), subscribe({ ...subscription, onLost: lost.resolve })]
    })
    const alive = setTimeout(() => lost.reject(new Error('nothing was lost')), 5000)
    for (let priority = 1; priority < 200; priority++) writing.request(rule(newRule, priority))
    await lost.promise
    clearTimeout(alive)
    end()
    writing.close()
  })

  test('A call that fails has the name of its error, and a closed socket is closed once', () => {
    const closed = new NetlinkSocket('route')
    closed.close()
    closed.close()
    assert.throws(() => closed.receive(), { name: 'SystemCallError', code: 'EBADF' })
    assert.throws(() => socketOption(socket.fd, 1, 9999), SystemCallError)
    assert.throws(() => new NetlinkSocket('route', { netns: '/nowhere' }), { code: 'ENOENT' })
  })
})

test('Who connects to a Unix socket is known by the kernel', async () => {
  const server = createServer().listen(`\0lightpath-test-${process.pid}`)
  await once(server, 'listening')
  const client = connect(server.address() as string)
  const [connection] = (await once(server, 'connection')) as [Socket & { readonly _handle: { readonly fd: number } }]
  const { pid, uid, gid } = credentialsOf(connection._handle.fd)
  assert.deepEqual([pid, uid, gid], [process.pid, process.getuid!(), process.getgid!()])
  client.destroy()
  connection.destroy()
  server.close()
})
