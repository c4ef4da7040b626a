/**
 * The delta Aggregated Discovery Service over gRPC: one `Client` a stream, requests decoded, responses as bytes. Beside it on the
 * same socket is the service that takes what Envoys have for the access log.
 */

import { chmodSync, chownSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { fromBinary } from '@bufbuild/protobuf'
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
} from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import type { ResourceRef, TypeUrl } from '../envoy/resource.ts'
import { listenUnix, peerUser } from '../observe/unixsocket.ts'
import { Client, type ClientOptions } from './client.ts'
import type { Refusal, VersionedRef } from './messages.ts'
import { encodeResponse } from './response.ts'
import type { ResourceStore } from './store.ts'
import { envoyTypes } from './types.ts'

export interface ClientInfo {
  /** Of the stream: a client that connects again has another. */
  readonly id: number
  readonly nodeId: string
  /** Such as 1.40.0; '' where the client does not say. */
  readonly envoyVersion: string
  /** Names of the extensions that the client was built with. */
  readonly extensions: readonly string[]
  /** What its bootstrap says of itself: texts of Node.metadata. */
  readonly metadata: ReadonlyMap<string, string>
}

/** What happens to clients. Called synchronously; `connected` comes first of a client, `disconnected` last. */
export interface XdsObserver {
  connected(client: ClientInfo): void
  acknowledged(clientId: number, resources: readonly VersionedRef[]): void
  gone(clientId: number, refs: readonly ResourceRef[]): void
  refused(clientId: number, refusal: Refusal): void
  settled(clientId: number): void
  admitted(clientId: number): void
  unknown(clientId: number, refs: readonly ResourceRef[]): void
  disconnected(clientId: number): void
}

/** As pino has it. */
export interface XdsLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface XdsServerOptions extends Partial<ClientOptions> {
  /** Holds everything already when a client that was connected before comes back: what it does not hold is removed. */
  readonly store: ResourceStore
  /** Of the Unix socket. */
  readonly path: string
  /** Whose processes are served; undefined for all that may open the socket. */
  readonly users?: readonly number[]
  /** Whose members may open the socket, beside its owner. */
  readonly group?: number
  readonly observer: XdsObserver
  readonly log: XdsLog
  /** Takes an ExportLogsServiceRequest of OpenTelemetry. Throws where it is none. */
  readonly onAccessLog?: (request: Uint8Array) => void
}

type Settings = XdsServerOptions & ClientOptions

/** Counted since the start, of all clients. */
export interface Traffic {
  requests: number
  refusals: number
  responses: number
  resources: number
  bytes: number
}

export interface XdsServer {
  /** Users of the processes that are connected now. */
  users(): readonly number[]
  readonly traffic: ReadonlyMap<TypeUrl, Readonly<Traffic>>
  /** The version that the client has acknowledged and still has. */
  acknowledgedVersion(clientId: number, ref: ResourceRef): string | undefined
  /** See `ClientOptions.forAdmitted`; without effect on a client that is gone. */
  setAdmitted(clientId: number, admitted: boolean): void
  /** Ends every stream, so that clients keep what they have and look for a server again. */
  stop(): Promise<void>
}

type Stream = ServerDuplexStream<Uint8Array, Uint8Array>

const method = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
// grpc-js wants Buffers: the same memory, seen as one.
const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const service = {
  deltaAggregatedResources: {
    path: method,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
} as const

const accessLogService = {
  export: {
    path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
} as const

/** An ExportLogsServiceResponse: all is accepted. */
const allTaken = new Uint8Array()

const socketMode = 0o660
/** How long clients may take to let go of the server when it stops. */
const drainMs = 1000

const channelOptions = {
  // The first request of a client that has 100,000 resources names them all.
  'grpc.max_receive_message_length': 64 << 20,
  // Finds clients whose machine is gone. Generous, since an Envoy that loads much configuration answers late.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 60_000,
}

/** Rejects where the socket cannot be made, with an error that names path, reason and remedy. */
export async function startXdsServer(given: XdsServerOptions): Promise<XdsServer> {
  const options = { ...given, types: given.types ?? envoyTypes }
  const { store } = options
  const sessions = new Map<number, Session>()
  const traffic = new Map<TypeUrl, Traffic>()
  let started = 0
  let flushing: NodeJS.Immediate | undefined

  // What grpc-js would print itself is reported here, in our words.
  setLogVerbosity(logVerbosity.NONE)
  const server = new Server(channelOptions)
  const handle: handleBidiStreamingCall<Uint8Array, Uint8Array> = stream => {
    const id = ++started
    const session = new Session(id, stream, options, traffic, nodeId =>
      [...sessions.values()].some(other => other.id !== id && other.nodeId === nodeId),
    )
    sessions.set(id, session)
    session.onEnd(() => sessions.delete(id))
  }
  server.addService(service, { deltaAggregatedResources: handle } as unknown as UntypedServiceImplementation)
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
  // Connecting takes the permission to write. The directory says who may come here at all.
  if (options.group !== undefined) chownSync(options.path, -1, options.group)
  chmodSync(options.path, socketMode)

  // Changes that come together are sent together.
  const flushSoon = () => {
    flushing ??= setImmediate(() => {
      flushing = undefined
      for (const session of sessions.values()) session.flush()
    })
  }
  const unsubscribe = store.onChange(changed => {
    for (const session of sessions.values()) session.client.changed(changed)
    flushSoon()
  })

  return {
    users: () => [...new Set(connections.values())],
    traffic,
    acknowledgedVersion: (clientId, ref) => sessions.get(clientId)?.client.acknowledgedVersion(ref),
    setAdmitted(clientId, admitted) {
      sessions.get(clientId)?.client.setAdmitted(admitted)
      flushSoon()
    },
    async stop() {
      unsubscribe()
      clearImmediate(flushing)
      listener.close()
      for (const session of sessions.values()) session.end()
      injector.drain(drainMs)
      await shutdown(server)
    },
  }
}

/** One stream. */
class Session {
  readonly id: number
  readonly client: Client
  nodeId: string | undefined
  readonly #stream: Stream
  readonly #options: Settings
  readonly #traffic: Map<TypeUrl, Traffic>
  readonly #isNodeConnected: (nodeId: string) => boolean
  readonly #unknownTypes = new Set<string>()
  #writable = true
  #open = true

  constructor(
    id: number,
    stream: Stream,
    options: Settings,
    traffic: Map<TypeUrl, Traffic>,
    isNodeConnected: (nodeId: string) => boolean,
  ) {
    this.id = id
    this.#stream = stream
    this.#options = options
    this.#traffic = traffic
    this.#isNodeConnected = isNodeConnected
    const { observer, log, store } = options
    this.client = new Client(
      store,
      {
        acknowledged: resources => observer.acknowledged(id, resources),
        gone: refs => observer.gone(id, refs),
        refused: refusal => {
          const { ref, version, detail } = refusal
          log.warn({ client: id, type: ref.typeUrl, name: ref.name, version, detail }, 'Envoy refused a resource')
          observer.refused(id, refusal)
        },
        settled: () => observer.settled(id),
        admitted: () => observer.admitted(id),
        unknown: refs => observer.unknown(id, refs),
        ignored: (type, reason) => log.warn({ client: id, type, reason }, 'xDS request ignored'),
      },
      options,
    )
    stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    stream.on('drain', () => {
      this.#writable = true
      this.flush()
    })
  }

  /** Called once, whoever ended the stream. */
  onEnd(ended: () => void): void {
    const close = () => {
      if (!this.#open) return
      this.#open = false
      ended()
      if (this.nodeId === undefined) return
      this.#options.log.info({ client: this.id, node: this.nodeId }, 'xDS client disconnected')
      this.#options.observer.disconnected(this.id)
    }
    this.#stream.on('end', () => {
      this.end()
      close()
    })
    this.#stream.on('cancelled', close)
    this.#stream.on('error', close)
    this.#stream.on('close', close)
  }

  /** Sends what there is to tell, as long as the client reads. */
  flush(): void {
    while (this.#open && this.#writable) {
      const response = this.client.next()
      if (!response) return
      const bytes = encodeResponse(response)
      const counted = this.#counted(response.typeUrl)
      counted.responses++
      counted.resources += response.put.length + response.remove.length
      counted.bytes += bytes.length
      this.#writable = this.#stream.write(bytes)
    }
  }

  end(): void {
    this.#stream.end()
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#open) return
    let request: DeltaDiscoveryRequest
    try {
      request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
    } catch (error) {
      this.#refuseStream(`request of ${bytes.length} bytes is no DeltaDiscoveryRequest: ${(error as Error).message}`)
      return
    }
    if (this.nodeId === undefined) this.#introduce(request)
    const typeUrl = this.#options.types.find(type => type.typeUrl === request.typeUrl)?.typeUrl
    if (!typeUrl) {
      this.#ignoreType(request.typeUrl)
      return
    }
    const counted = this.#counted(typeUrl)
    counted.requests++
    if (request.errorDetail) counted.refusals++
    this.client.request({
      typeUrl,
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      initialVersions: request.initialResourceVersions,
      nonce: request.responseNonce,
      error: request.errorDetail?.message,
    })
    this.flush()
  }

  #introduce({ node }: DeltaDiscoveryRequest): void {
    const { log, observer } = this.#options
    const nodeId = node?.id ?? ''
    if (this.#isNodeConnected(nodeId)) {
      log.info(
        { client: this.id, node: nodeId },
        'xDS client with the node id of another one; each is served by itself',
      )
    }
    this.nodeId = nodeId
    const built =
      node?.userAgentVersionType.case === 'userAgentBuildVersion' ? node.userAgentVersionType.value : undefined
    const { majorNumber, minorNumber, patch } = built?.version ?? {}
    const envoyVersion = built?.version ? `${majorNumber}.${minorNumber}.${patch}` : ''
    log.info({ client: this.id, node: nodeId, envoyVersion }, 'xDS client connected')
    const extensions = (node?.extensions ?? []).map(extension => extension.name)
    const metadata = new Map(Object.entries(node?.metadata ?? {}).map(([key, value]) => [key, String(value)]))
    observer.connected({ id: this.id, nodeId, envoyVersion, extensions, metadata })
  }

  #ignoreType(typeUrl: string): void {
    // A client may make up names without end: the log and this set do not grow with it.
    if (this.#unknownTypes.has(typeUrl) || this.#unknownTypes.size >= 20) return
    this.#unknownTypes.add(typeUrl)
    this.#options.log.warn(
      { client: this.id, type: typeUrl, served: this.#options.types.map(type => type.typeUrl) },
      'xDS client asks for a type that is not served; ignored',
    )
  }

  #refuseStream(reason: string): void {
    this.#options.log.warn({ client: this.id, node: this.nodeId, reason }, 'xDS stream ended')
    this.#stream.emit('error', { code: status.INVALID_ARGUMENT, details: reason })
  }

  #counted(typeUrl: TypeUrl): Traffic {
    let traffic = this.#traffic.get(typeUrl)
    if (!traffic) {
      traffic = { requests: 0, refusals: 0, responses: 0, resources: 0, bytes: 0 }
      this.#traffic.set(typeUrl, traffic)
    }
    return traffic
  }
}

/** Undefined for one of another user, whose connection is ended. */
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

/** Streams that clients do not let go of are cut after a second. */
function shutdown(server: Server): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(() => server.forceShutdown(), drainMs)
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
