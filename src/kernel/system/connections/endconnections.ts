/**
 * Ends TCP connections of Envoy's with clients and endpoints that are to be reached without it from now on, at both
 * ends and at once. The rules of the tables end them too, but only with their next packet.
 */

import { redirectPortsOf } from '../../../net/redirectports.ts'
import { destroyTcp, listTcp, type TcpSocket } from '../../netlink/sockdiag.ts'
import { NetlinkSocket } from '../../netlink/socket.ts'
import type { VipPort } from '../../overlay.ts'

export interface Unwanted {
  /** Addresses whose connections to Envoy end. */
  readonly clients?: ReadonlySet<string>
  /** Addresses to which Envoy's connections end. */
  readonly endpoints?: ReadonlySet<string>
  /** Connections to Envoy that came by these end; a node port has the unspecified address. */
  readonly frontends?: readonly VipPort[]
}

export interface EnvoySockets {
  /** Of Envoy's own connections. */
  readonly envoyMark: number
  /** To it and to the next one connections are redirected where TPROXY cannot be used. */
  readonly redirectPort: number
  /** Whether this machine has the address. Connections that TPROXY took have none of its addresses at their own end. */
  readonly hasAddress: (ip: string) => boolean
}

/**
 * Ends them, and returns how many ended. Throws as `NetlinkSocket.dumpNow`, and NetlinkError EOPNOTSUPP where the
 * kernel cannot end connections.
 */
export function endConnections(unwanted: Unwanted, envoy: EnvoySockets): number {
  using socket = new NetlinkSocket('sockDiag')
  const open = listTcp(socket, { states: ['established', 'closeWait'] })
  return open.filter(found => isUnwanted(found, unwanted, envoy) && destroyTcp(socket, found)).length
}

export function isUnwanted(
  { local, remote, mark = 0, transparent }: Pick<TcpSocket, 'local' | 'remote' | 'mark' | 'transparent'>,
  { clients, endpoints, frontends = [] }: Unwanted,
  { envoyMark, redirectPort, hasAddress }: EnvoySockets,
): boolean {
  const [own, peer] = [plain(local.ip), plain(remote.ip)]
  const isOwn = hasAddress(own)
  // With the client's address as its source it is that client's, too.
  if ((mark & envoyMark) === envoyMark) return Boolean(endpoints?.has(peer) || clients?.has(own))
  if (clients?.has(peer) && (!isOwn || redirectPortsOf(redirectPort).includes(local.port))) return true
  // An external address may be the node's own, where its processes have connections, too.
  if (transparent === false) return false
  return frontends.some(({ ip, port }) => port === local.port && (ip === own || (isUnspecified(ip) && isOwn)))
}

function plain(ip: string): string {
  return ip.replace(/^::ffff:(?=\d+\.)/, '')
}

function isUnspecified(ip: string): boolean {
  return ip === '0.0.0.0' || ip === '::'
}
