/** Interfaces (ip-link(8), include/uapi/linux/if_link.h). */

import { flags, NetlinkError } from '../answer.ts'
import { MalformedMessage, type Message, readAttributes, required } from '../reader.ts'
import type { NetlinkSocket } from '../socket.ts'
import type { MessageWriter } from '../writer.ts'

export interface Link {
  readonly index: number
  readonly name: string
  /** What it is, such as `veth`, `bridge` or `wireguard`; undefined for a network card and `lo`. */
  readonly kind: string | undefined
  /** The bridge, VRF or bond that it is a port of. */
  readonly master: string | undefined
}

const types = { new: 16, delete: 17, get: 18, set: 19 } as const
const headerLength = 16
const attributes = { address: 1, name: 3, master: 10, info: 18, familySpecific: 26 } as const
const infoAttributes = { kind: 1, data: 2 } as const
const vethPeer = 1
/** IFF_UP and IFF_NOARP. */
const up = 1
const withoutArp = 0x80
/** IN6_ADDR_GEN_MODE_NONE: no link-local address. */
const inet6 = { family: 10, addressGeneration: 8, none: 1 } as const

/** Lists the interfaces by a socket of protocol `route`. Throws as `NetlinkSocket.dumpNow`. */
export function listLinks(socket: NetlinkSocket): readonly Link[] {
  const request = { type: types.get, body: (writer: MessageWriter) => writer.raw(header()) }
  const links = socket.dumpNow(request, readLink)
  const names = new Map(links.map(({ index, name }) => [index, name]))
  return links.map(link => ({ ...link, master: link.master === undefined ? undefined : names.get(link.master) }))
}

/** Throws MalformedMessage. */
export function readLink({
  body,
}: Pick<Message, 'body'>): Omit<Link, 'master'> & { readonly master: number | undefined } {
  if (body.length < headerLength) throw new MalformedMessage('an interface is cut')
  const read = readAttributes(body, headerLength)
  return {
    index: body.readInt32LE(4),
    name: read.text(attributes.name) ?? '',
    kind: read.nested(attributes.info)?.text(infoAttributes.kind),
    master: read.u32(attributes.master),
  }
}

/** Throws NetlinkError ENODEV where there is none of that name. */
export function indexOfLink(socket: NetlinkSocket, name: string): number {
  const request = { type: types.get, body: (writer: MessageWriter) => writer.raw(header()).text(attributes.name, name) }
  const [found] = socket.request(request, readLink)
  return required(found, `interface ${name}`).index
}

/**
 * Makes two interfaces that are each other's peer, both up, with the same hardware address, without ARP and without
 * addresses of their own.
 */
export function addVeth(socket: NetlinkSocket, names: readonly [string, string], hardware: Uint8Array): void {
  const [one, other] = names
  const describe = (writer: MessageWriter, name: string) =>
    writer.raw(header()).bytesOf(attributes.address, hardware).text(attributes.name, name)
  socket.request({
    type: types.new,
    flags: flags.create | flags.exclusive,
    body: writer =>
      describe(writer, one).nested(attributes.info, info =>
        info
          .text(infoAttributes.kind, 'veth')
          .nested(infoAttributes.data, data => data.nested(vethPeer, peer => describe(peer, other))),
      ),
  })
  for (const name of names) {
    setLink(socket, name, 0, writer =>
      writer.nested(attributes.familySpecific, all =>
        all.nested(inet6.family, own => own.u8(inet6.addressGeneration, inet6.none)),
      ),
    )
    // Afterwards: what comes up gets its address at once.
    setLink(socket, name, up | withoutArp)
  }
}

function setLink(socket: NetlinkSocket, name: string, on: number, more?: (writer: MessageWriter) => void): void {
  const body = (writer: MessageWriter) => {
    writer.raw(header(on)).text(attributes.name, name)
    more?.(writer)
  }
  socket.request({ type: types.set, body })
}

/** Deletes the interface, with its peer where it is a veth. False where there is none of that name. */
export function deleteLink(socket: NetlinkSocket, name: string): boolean {
  try {
    socket.request({ type: types.delete, body: writer => writer.raw(header()).text(attributes.name, name) })
    return true
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENODEV') return false
    throw error
  }
}

/** `struct ifinfomsg`. @param on flags that are to be on */
function header(on = 0): Buffer {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeUInt32LE(on, 8)
  bytes.writeUInt32LE(on, 12)
  return bytes
}
