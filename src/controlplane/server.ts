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
import { hostPort } from '../net/address.ts'
import type { TcpAddress } from '../observe/http.ts'
import type { Log } from '../observe/log.ts'
import { formatProblem } from '../services/problem.ts'
import type { SourceListener } from '../sources/source.ts'
import { discoveryService, shutdown } from '../xds/grpc.ts'
import { FactStore } from './factstore.ts'
import { Subscriber } from './subscriber.ts'

export interface ControlPlaneOptions {
  /** Port 0 for any that is free. */
  readonly address: TcpAddress
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
/** Changes that come within this time are sent together. */
const gatherMs = 5
/** An agent that acknowledges nothing for so long is cut off, since what it is to hear would grow without end. */
const patienceMs = 60_000

const channelOptions = {
  // An agent that comes back names all that it has: 100,000 objects are some 8 MB.
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.max_concurrent_streams': 4,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
}

type Call = ServerDuplexStream<Uint8Array, Uint8Array>

interface Stream {
  readonly call: Call
  readonly subscriber: Subscriber
  /** Of what was sent last, by performance.now(). */
  sent: number
}

/** Agents are served once the source has said that everything is known. Rejects where the address is taken. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { log, mostStreams = usualMostStreams, progressMs = usualProgressMs } = options
  const streams = new Set<Stream>()
  let isSynced = false
  let flushing: NodeJS.Timeout | undefined
  const flush = () => {
    flushing = undefined
    for (const stream of streams) send(stream)
  }
  const store = new FactStore((type, name, scopes) => {
    for (const { subscriber } of streams) subscriber.changed(type, name, scopes)
    if (streams.size > 0) flushing ??= setTimeout(flush, gatherMs)
  })
  const ticking = setInterval(() => {
    for (const stream of streams) {
      if (!stream.subscriber.isWaiting) send(stream, true)
      else if (performance.now() - stream.sent > patienceMs) end(stream.call, status.ABORTED, 'nothing acknowledged')
    }
  }, progressMs)

  const handle: handleBidiStreamingCall<Uint8Array, Uint8Array> = call => {
    if (!isSynced) return end(call, status.UNAVAILABLE, 'not everything is known here yet')
    if (streams.size >= mostStreams) return end(call, status.RESOURCE_EXHAUSTED, `${mostStreams} streams are served`)
    const stream: Stream = { call, subscriber: new Subscriber(store), sent: performance.now() }
    streams.add(stream)
    for (const event of ['cancelled', 'error', 'close']) call.on(event, () => streams.delete(stream))
    call.on('end', () => call.end())
    call.on('data', (bytes: Uint8Array) => {
      try {
        receive(stream.subscriber, bytes)
        send(stream)
      } catch (error) {
        log.warn({ peer: call.getPeer(), reason: (error as Error).message }, 'stream of an agent ended')
        end(call, status.INVALID_ARGUMENT, (error as Error).message)
      }
    })
    // An agent learns by this that it is served, and says only then what it has.
    call.sendMetadata(new Metadata())
  }

  setLogVerbosity(logVerbosity.NONE)
  const server = new Server(channelOptions)
  server.addService(discoveryService, { deltaAggregatedResources: handle } as unknown as UntypedServiceImplementation)
  const port = await bind(server, options.address)

  return {
    port,
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
      for (const { call } of streams) call.end()
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

/** @throws Error where it is no request, or for what there is not */
function receive(subscriber: Subscriber, bytes: Uint8Array): void {
  const request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
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

function bind(server: Server, { address, port }: TcpAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(hostPort(address, port), ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error)
      else resolve(bound)
    })
  })
}
