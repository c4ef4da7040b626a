/** Interfaces (ip-link(8), include/uapi/linux/if_link.h). */

import { MalformedMessage, type Message, readAttributes } from '../reader.ts'
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

const getLink = 18
const headerLength = 16
const attributes = { name: 3, master: 10, info: 18 } as const
const infoKind = 1

/** By a socket of protocol `route`. Throws as `NetlinkSocket.dumpNow`. */
export function listLinks(socket: NetlinkSocket): readonly Link[] {
  const request = { type: getLink, body: (writer: MessageWriter) => writer.raw(new Uint8Array(headerLength)) }
  const links = socket.dumpNow(request, readLink)
  const names = new Map(links.map(({ index, name }) => [index, name]))
  return links.map(link => ({ ...link, master: link.master === undefined ? undefined : names.get(link.master) }))
}

/** Throws MalformedMessage. */
function readLink({ body }: Pick<Message, 'body'>): Omit<Link, 'master'> & { readonly master: number | undefined } {
  if (body.length < headerLength) throw new MalformedMessage('an interface is cut')
  const read = readAttributes(body, headerLength)
  return {
    index: body.readInt32LE(4),
    name: read.text(attributes.name) ?? '',
    kind: read.nested(attributes.info)?.text(infoKind),
    master: read.u32(attributes.master),
  }
}
