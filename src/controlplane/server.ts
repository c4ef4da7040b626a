/** Serves the facts of the cluster to agents: delta xDS over gRPC, with the types of lightpath.facts.v1. */

import { fromBinary } from '@bufbuild/protobuf'
import {
  type handleBidiStreamingCall,
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { DeltaDiscoveryRequestSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { typeOf, typeOfUrl } from '../facts/types.ts'
import type { Bearers } from '../observe/access/bearers.ts'
import type { TcpAddress } from '../observe/http.ts'
import type { Log } from '../observe/log.ts'
import { formatProblem } from '../services/problem.ts'
import type { SourceListener } from '../sources/source.ts'
import { discoveryService, drainMs, shutdown } from '../xds/grpc.ts'
import { FactStore } from './factstore.ts'
import { listenForAgents } from './listener.ts'
import { Subscriber } from './subscriber.ts'

export interface ControlPlaneOptions {
  /** Port 0 for any that is free. */
  readonly address: TcpAddress
  /** A directory with tls.crt and tls.key; undefined to serve without TLS. */
  readonly certificate?: string
  /** Says who may have the facts, by bearer token; undefined for whoever can reach the address. */
  readonly bearers?: Bearers
  readonly log: Log
  /** Streams at once. Default: 2000. */
  readonly mostStreams?: number
  /** How often agents hear that they still have everything, where nothing changed that concerns them. Default: 10 s. */
  readonly progressMs?: number
}

export interface ControlPlane extends Required<SourceListener> {
  readonly port: number
  stop(): Promise<void>
}

const usualMostStreams = 2000
const usualProgressMs = 10_000
/**
 * Changes that come within this time are sent together, and later ones wait until this time and some for each stream
 * has passed: what a change costs is mostly messages, and with 500 streams there are 20 a second for each at most.
 */
const gatherMs = 5
const gatherMsPerStream = 0.1
/** An agent that acknowledges nothing for so long is cut off, since what it is to hear would grow without end. */
const patienceMs = 60_000

const channelOptions = {
  // An agent that comes back names all that it has: 100,000 objects are some 8 MB.
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.max_concurrent_streams': 4,
  // Whoever has no stream that is served loses the connection.
  'grpc.max_connection_idle_ms': 30_000,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
}

/** Whose bearers may have the facts. */
export const factsAccess = { path: '/lightpath/facts', audience: 'lightpath-controlplane' } as const

type Call = ServerDuplexStream<Uint8Array, Uint8Array>

interface Stream {
  readonly call: Call
  readonly subscriber: Subscriber
  /** Of what was sent last, by performance.now(). */
  sent: number
}

/** A stream of a token lasts between this and twice this: the agent comes back, and its token is looked at again. */
const tokenMs = 30 * 60_000

/** Agents are served once the source has said that everything is known. Rejects where the address is taken. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { log, mostStreams = usualMostStreams, progressMs = usualProgressMs } = options
  const streams = new Set<Stream>()
  let isSynced = false
  let flushing: NodeJS.Timeout | undefined
  let flushed = 0
  const flush = () => {
    flushing = undefined
    flushed = performance.now()
    for (const stream of streams) send(stream)
  }
  const store = new FactStore((type, name, scopes) => {
    for (const { subscriber } of streams) subscriber.changed(type, name, scopes)
    if (streams.size === 0 || flushing) return
    const restMs = flushed + streams.size * gatherMsPerStream - performance.now()
    flushing = setTimeout(flush, Math.max(gatherMs, restMs))
  })
  const ticking = setInterval(() => {
    for (const stream of streams) {
      if (!stream.subscriber.isWaiting) send(stream, true)
      else if (performance.now() - stream.sent > patienceMs) end(stream.call, status.ABORTED, 'nothing acknowledged')
    }
  }, progressMs)

  const serve = (call: Call, node: string | undefined) => {
    if (!isSynced) return end(call, status.UNAVAILABLE, 'not everything is known here yet')
    if (streams.size >= mostStreams) return end(call, status.RESOURCE_EXHAUSTED, `${mostStreams} streams are served`)
    const stream: Stream = { call, subscriber: new Subscriber(store), sent: performance.now() }
    streams.add(stream)
    for (const event of ['cancelled', 'error', 'close']) call.on(event, () => streams.delete(stream))
    call.on('end', () => call.end())
    call.on('data', (bytes: Uint8Array) => {
      try {
        receive(stream.subscriber, bytes, node)
        send(stream)
      } catch (error) {
        log.warn({ peer: call.getPeer(), reason: (error as Error).message }, 'stream of an agent ended')
        end(call, status.INVALID_ARGUMENT, (error as Error).message)
      }
    })
    // An agent learns by this that it is served, and says only then what it has.
    call.sendMetadata(new Metadata())
  }
  const handle: handleBidiStreamingCall<Uint8Array, Uint8Array> = async call => {
    if (!options.bearers) return serve(call, undefined)
    const found = await identify(call, options.bearers)
    if (call.cancelled) return
    if ('code' in found) return end(call, found.code, found.details)
    const timer = setTimeout(() => call.end(), tokenMs * (1 + Math.random()))
    for (const event of ['cancelled', 'error', 'close', 'finish']) call.on(event, () => clearTimeout(timer))
    serve(call, found.node)
  }

  setLogVerbosity(logVerbosity.NONE)
  const server = new Server(channelOptions)
  server.addService(discoveryService, { deltaAggregatedResources: handle } as unknown as UntypedServiceImplementation)
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = await listenForAgents(options, connection => injector.injectConnection(connection))

  return {
    port: listener.port,
    changes: changes => store.apply(changes),
    progress: ({ kind }, version) => store.progress(typeOf(kind), version),
    synced: () => {
      isSynced = true
      log.info({}, 'everything is known; agents are served')
    },
    problems: (origin, problems) => {
      for (const problem of problems) log.warn({ origin, code: problem.code }, formatProblem(problem))
    },
    stop: async () => {
      clearTimeout(flushing)
      clearInterval(ticking)
      listener.stop()
      for (const { call } of streams) call.end()
      injector.drain(drainMs)
      await shutdown(server)
    },
  }
}

function send(stream: Stream, tellsProgress = false): void {
  const response = stream.subscriber.next(tellsProgress)
  if (!response) return
  stream.sent = performance.now()
  stream.call.write(response)
}

type Identity = { readonly node: string | undefined } | { readonly code: status; readonly details: string }

async function identify(call: Call, bearers: Bearers): Promise<Identity> {
  const [header] = call.metadata.get('authorization')
  const token = /^Bearer (\S+)$/i.exec(String(header ?? ''))?.[1]
  if (token === undefined) return { code: status.UNAUTHENTICATED, details: 'send a bearer token' }
  const verdict = await bearers.verdict(token, call.getPeer().replace(/:\d+$/, ''))
  switch (verdict.kind) {
    case 'allowed':
      return { node: verdict.node }
    case 'forbidden':
      return {
        code: status.PERMISSION_DENIED,
        details: `${verdict.user} may not get the nonResourceURL ${factsAccess.path}`,
      }
    case 'unauthenticated':
      return {
        code: status.UNAUTHENTICATED,
        details: 'the API server does not know this token, or it is for another audience',
      }
    default:
      return { code: status.UNAVAILABLE, details: 'the token cannot be looked at now' }
  }
}

/**
 * @param node that the agent's token is bound to
 * @throws Error where it is no request, or for what there is not
 */
function receive(subscriber: Subscriber, bytes: Uint8Array, node: string | undefined): void {
  const request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
  if (request.node && node !== undefined && request.node.id !== node) {
    throw new Error(`node ${JSON.stringify(request.node.id)} shows a token of node ${node}`)
  }
  const type = typeOfUrl(request.typeUrl)
  if (type === undefined) throw new Error(`${JSON.stringify(request.typeUrl)} is not served here`)
  subscriber.request({
    type,
    subscribe: request.resourceNamesSubscribe,
    initialVersions: request.initialResourceVersions,
    nonce: request.responseNonce,
  })
}

function end(call: Call, code: status, details: string): void {
  call.emit('error', { code, details })
}
