/** Listens for agents: by TLS with a certificate that may be replaced, or without on loopback addresses. */

import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Certificates } from '../certificates/certificate.ts'
import { limitConnections } from '../observe/http/bounds.ts'
import { listen } from '../observe/http/unixsocket.ts'
import type { TcpAddress } from '../observe/http.ts'
import type { Log } from '../observe/log.ts'

export interface Listener {
  readonly port: number
  /** Ends the connection of a peer, such as `10.244.1.7:53122`, at once. */
  cut(peer: string): void
  stop(): void
}

export interface ListenerOptions {
  readonly address: TcpAddress
  /** Undefined to serve without TLS. */
  readonly certificates?: Certificates
  readonly log: Log
  /** How long a client may take for TLS (default: 15 s), and again to close a connection that was ended (5 s). */
  readonly patienceMs?: number
}

const lookMs = 30_000
/** As long as an agent waits, which tries again then: what both have done would be done in vain. */
const usualHandshakeMs = 15_000
const usualEndMs = 5000
/** The agents of a node share its address; one has a connection, and another while it restarts. */
const mostConnections = { total: 4096, perPeer: 16 }

/** Rejects where the address is taken or there is no certificate. */
export async function listenForAgents(options: ListenerOptions, take: (connection: Socket) => void): Promise<Listener> {
  const { address, certificates, log, patienceMs } = options
  const connections = new Map<string, Socket>()
  const takeOne = (connection: Socket) => {
    const peer = `${connection.remoteAddress}:${connection.remotePort}`
    connections.set(peer, connection)
    connection.once('close', () => connections.delete(peer))
    // A client that does not end its side would keep its share of connections.
    connection.once('finish', () => {
      const timer = setTimeout(() => connection.destroy(), patienceMs ?? usualEndMs)
      connection.once('close', () => clearTimeout(timer))
    })
    take(connection)
  }
  const { server, stop } =
    certificates === undefined
      ? { server: createServer(takeOne), stop: () => undefined }
      : await tlsServer(certificates, log, patienceMs ?? usualHandshakeMs, takeOne)
  limitConnections(server, mostConnections)
  await listen(server, { host: address.address, port: address.port })
  return {
    port: (server.address() as AddressInfo).port,
    cut: peer => connections.get(peer)?.destroy(),
    stop: () => {
      stop()
      server.close()
    },
  }
}

async function tlsServer(
  certificates: Certificates,
  log: Log,
  handshakeTimeout: number,
  take: (connection: Socket) => void,
): Promise<{ readonly server: Server; readonly stop: () => void }> {
  const server = createTlsServer({ ALPNProtocols: ['h2'], minVersion: 'TLSv1.3', handshakeTimeout }, take)
  // Node leaves the connection open, as when the handshake takes too long.
  server.on('tlsClientError', (_error, connection) => connection.destroy())
  const check = certificates(({ certificate, key }) =>
    server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.3' }),
  )
  await check()
  const looking = setInterval(
    () => check().catch((error: Error) => log.warn({ error: error.message }, 'the certificate before is served')),
    lookMs,
  )
  return { server, stop: () => clearInterval(looking) }
}
