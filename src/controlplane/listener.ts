/** Listens for agents: by TLS with a certificate that may be replaced, or without on loopback addresses. */

import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { limitConnections } from '../observe/http/bounds.ts'
import type { TcpAddress } from '../observe/http.ts'
import type { Log } from '../observe/log.ts'
import { listen } from '../observe/unixsocket.ts'
import { certificateFiles } from '../webhook/files.ts'

export interface Listener {
  readonly port: number
  stop(): void
}

export interface ListenerOptions {
  readonly address: TcpAddress
  /** A directory with tls.crt and tls.key; undefined to serve without TLS. */
  readonly certificate?: string
  readonly log: Log
}

const lookMs = 30_000
/** The agents of a node share its address; one has a connection, and another while it restarts. */
const mostConnections = { total: 4096, perPeer: 16 }

/** Rejects where the address is taken or the certificate cannot be read. */
export async function listenForAgents(options: ListenerOptions, take: (connection: Socket) => void): Promise<Listener> {
  const { address, certificate } = options
  const { server, stop } =
    certificate === undefined
      ? { server: createServer(take), stop: () => undefined }
      : await tlsServer(certificate, options.log, take)
  limitConnections(server, mostConnections)
  await listen(server, { host: address.address, port: address.port })
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      stop()
      server.close()
    },
  }
}

async function tlsServer(
  directory: string,
  log: Log,
  take: (connection: Socket) => void,
): Promise<{ readonly server: Server; readonly stop: () => void }> {
  const server = createTlsServer({ ALPNProtocols: ['h2'], minVersion: 'TLSv1.3', handshakeTimeout: 5000 }, take)
  const look = certificateFiles(directory, ({ certificate, key }) =>
    server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.3' }),
  )
  await look()
  const looking = setInterval(
    () => look().catch((error: Error) => log.warn({ error: error.message }, 'the certificate before is served')),
    lookMs,
  )
  return { server, stop: () => clearInterval(looking) }
}
