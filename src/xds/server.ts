/**
 * Serves the delta Aggregated Discovery Service over gRPC: each stream has a `Session`, which gets the resources of the
 * node that it names. On the same socket another service takes what Envoys have for the access log.
 */

import { chmodSync, chownSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { ResourceRef, TypeUrl } from '../envoy/resource.ts'
import { listenUnix, peerUser } from '../observe/http/unixsocket.ts'
import type { ClientOptions } from './client/client.ts'
import { accessLogService, allTaken, channelOptions, discoveryService, drainMs, shutdown } from './grpc.ts'
import { Session, type Traffic, type XdsLog, type XdsObserver } from './session.ts'
import type { ResourceStore } from './store.ts'
import { envoyTypes } from './types.ts'

export interface XdsServerOptions extends Partial<ClientOptions> {
  /**
   * The resources of a node, by the node id that its Envoy names; undefined for a node that is not served. All of them
   * exist already when a client that was connected before comes back: it loses what does not.
   */
  readonly storeOf: (nodeId: string) => ResourceStore | undefined
  /** The path of the Unix socket. */
  readonly path: string
  /** The users whose processes are served; undefined for all that may open the socket. */
  readonly users?: readonly number[]
  /** The group whose members may open the socket, beside its owner. */
  readonly group?: number
  readonly observer: XdsObserver
  readonly log: XdsLog
  /** Takes an ExportLogsServiceRequest of OpenTelemetry. Throws where it is none. */
  readonly onAccessLog?: (request: Uint8Array) => void
}

/** Connected clients, by id; a client that is gone has nothing. */
export interface XdsClients {
  /** The version that the client has acknowledged and still has. */
  acknowledgedVersion(clientId: number, ref: ResourceRef): string | undefined
  /** See `ClientOptions.forActive`. */
  setActive(clientId: number, active: boolean): void
}

export interface XdsServer extends XdsClients {
  /** Users of the connected processes. */
  users(): readonly number[]
  readonly traffic: ReadonlyMap<TypeUrl, Readonly<Traffic>>
  /** Ends every stream, so that clients keep what they have and look for a server again. */
  stop(): Promise<void>
}

const socketMode = 0o660
/** Rejects where the socket cannot be made, with an error that names path, reason and remedy. */
export async function startXdsServer(options: XdsServerOptions): Promise<XdsServer> {
  const sessions = new Map<number, Session>()
  const traffic = new Map<TypeUrl, Traffic>()
  let started = 0
  let flushing: NodeJS.Immediate | undefined
  // Changes that come together are sent together.
  const flushSoon = () => {
    flushing ??= setImmediate(() => {
      flushing = undefined
      for (const session of sessions.values()) session.flush()
    })
  }

  // Errors that grpc-js would print itself are reported here, in our words.
  setLogVerbosity(logVerbosity.NONE)
  const server = new Server(channelOptions)
  const handle: handleBidiStreamingCall<Uint8Array, Uint8Array> = stream => {
    const id = ++started
    const isConnected = (nodeId: string) => [...sessions.values()].some(other => other.nodeId === nodeId)
    const types = options.types ?? envoyTypes
    const session = new Session(id, stream, { ...options, types, traffic, isConnected, onChange: flushSoon })
    sessions.set(id, session)
    session.onEnd(() => sessions.delete(id))
  }
  server.addService(discoveryService, { deltaAggregatedResources: handle } as unknown as UntypedServiceImplementation)
  const takeAccessLog: handleUnaryCall<Uint8Array, Uint8Array> = ({ request }, answer) => {
    try {
      options.onAccessLog?.(request)
      answer(null, allTaken)
    } catch (error) {
      answer({ code: status.INVALID_ARGUMENT, details: String(error) })
    }
  }
  server.addService(accessLogService, { export: takeAccessLog } as unknown as UntypedServiceImplementation)
  const connections = new Map<Socket, number>()
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = createServer(connection => {
    const user = admittedUser(connection, options)
    if (user === undefined) return
    connections.set(connection, user)
    connection.once('close', () => connections.delete(connection))
    injector.injectConnection(connection)
  })
  await listenUnix(listener, options.path, 'another agent')
  // Connecting takes the permission to write. The directory decides who may come here at all.
  if (options.group !== undefined) chownSync(options.path, -1, options.group)
  chmodSync(options.path, socketMode)

  return {
    users: () => [...new Set(connections.values())],
    traffic,
    acknowledgedVersion: (clientId, ref) => sessions.get(clientId)?.acknowledgedVersion(ref),
    setActive(clientId, active) {
      sessions.get(clientId)?.setActive(active)
      flushSoon()
    },
    async stop() {
      clearImmediate(flushing)
      listener.close()
      for (const session of sessions.values()) session.end()
      injector.drain(drainMs)
      await shutdown(server)
    },
  }
}

/** Undefined for a process of another user, whose connection is ended. */
function admittedUser(connection: Socket, { users, log }: XdsServerOptions): number | undefined {
  try {
    const user = peerUser(connection)
    if (users === undefined || users.includes(user)) return user
    log.warn({ user, served: users }, 'xDS client of another user refused')
  } catch (error) {
    log.warn({ error: String(error) }, 'xDS client refused: who it is cannot be told')
  }
  connection.on('error', () => undefined).destroy()
  return undefined
}
