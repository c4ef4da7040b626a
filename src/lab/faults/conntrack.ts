/** Fills the conntrack table of a network namespace of a lab with flows that nobody sends, which the kernel does not drop for others. */

import { flags, NetlinkError } from '../../kernel/netlink/answer.ts'
import { withSocket } from '../../kernel/netlink/socket.ts'
import type { MessageWriter } from '../../kernel/netlink/writer.ts'
import { netnsPath } from '../leftovers.ts'

/** include/uapi/linux/netfilter/nfnetlink_conntrack.h */
const types = { create: 0x100, delete: 0x102 } as const
const attributes = { original: 1, reply: 2, status: 3, timeout: 7, mark: 8, markMask: 21 } as const
const ipv4 = Uint8Array.of(2, 0, 0, 0)
/** IPS_SEEN_REPLY, IPS_ASSURED and IPS_CONFIRMED: the kernel drops only flows that are not assured where there is no room. */
const assured = 2 | 4 | 8
const udp = 17
/** By which they are found again. */
const fillMark = 0x66756c6c

/** Returns how many there was room for. */
export function fillConntrack(netns: string): number {
  return withSocket('netfilter', { netns: netnsPath(netns) }, socket => {
    for (let count = 0; ; count++) {
      try {
        const body = (writer: MessageWriter) => writeFlow(writer, count)
        socket.request({ type: types.create, flags: flags.create | flags.exclusive, body })
      } catch (error) {
        if (error instanceof NetlinkError && error.code === 'ENOMEM') return count
        throw error
      }
    }
  })
}

export function freeConntrack(netns: string): void {
  withSocket('netfilter', { netns: netnsPath(netns) }, socket =>
    socket.request({
      type: types.delete,
      body: writer => writer.raw(ipv4).be32(attributes.mark, fillMark).be32(attributes.markMask, 0xffff_ffff),
    }),
  )
}

/** Of the addresses for benchmarks (RFC 2544), a flow for each number. */
function writeFlow(writer: MessageWriter, number: number): void {
  const [client, server] = [`198.18.${(number >> 8) & 255}.${number & 255}`, '198.19.0.1']
  const port = 1024 + (number >> 16)
  writer.raw(ipv4)
  writeTuple(writer, attributes.original, client, server, port, 9)
  writeTuple(writer, attributes.reply, server, client, 9, port)
  writer.be32(attributes.status, assured).be32(attributes.timeout, 3600).be32(attributes.mark, fillMark)
}

function writeTuple(writer: MessageWriter, type: number, from: string, to: string, fromPort: number, toPort: number) {
  writer.nested(type, tuple => {
    tuple.nested(1, ip => ip.address(1, from).address(2, to))
    tuple.nested(2, protocol => protocol.u8(1, udp).be16(2, fromPort).be16(3, toPort))
  })
}
