/** Serves the facts of the cluster to agents: delta xDS over gRPC, with the types of lightpath.facts.v1. */

import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import {
  type handleBidiStreamingCall,
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Certificates } from '../certificates/certificate.ts'
import { DeltaDiscoveryRequestSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import type { Exclusion } from '../exclusions/exclusion.ts'
import { failuresService } from '../facts/failures.ts'
import { isNoFormat, sayFormat } from '../facts/format.ts'
import { encodeFreshness } from '../facts/freshness.ts'
import { typeOfUrl } from '../facts/types.ts'
import type { Bearers } from '../observe/access/bearers.ts'
import type { TcpAddress } from '../observe/http.ts'
import type { Log } from '../observe/log.ts'
import type { Note } from '../services/note.ts'
import { show } from '../text/raw.ts'
import { discoveryService, drainMs, shutdown } from '../xds/grpc.ts'
import { type Call, identify, reviewAgain } from './admission.ts'
import { Exchange } from './failures/exchange.ts'
import { Failures, type FailureTimes } from './failures/failures.ts'
import { notesOf } from './failures/notes.ts'
import { Knowledge } from './knowledge/knowledge.ts'
import { listenForAgents } from './listener.ts'
import type { Readings } from './metrics.ts'
import { Subscriber } from './subscriber.ts'

export interface ControlPlaneOptions {
  /** Port 0 for any that is free. */
  readonly address: TcpAddress
  /** Undefined to serve without TLS. */
  readonly certificates?: Certificates
  /** Says who may have the facts, by bearer token; undefined for whoever can reach the address. */
  readonly bearers?: Bearers
  readonly log: Log
  /** Nobody is served what is older; undefined for no such limit. */
  readonly maxStalenessMs?: number
  /** Streams at once. Default: 2000. */
  readonly mostStreams?: number
  /** How often agents hear that they still have everything, where nothing changed that concerns them. Default: 10 s. */
  readonly progressMs?: number
  readonly times?: Partial<typeof usualTimes>
  readonly failureTimes?: FailureTimes
  /** Hears what owners of Pods and Nodes are to know. */
  readonly tell?: (note: Note) => void
  /** Hears that something is excluded, or no longer. */
  readonly exclusionsChanged?: () => void
}

export interface ControlPlane {
  readonly port: number
  /** Hears what the source reports. */
  readonly knowledge: Knowledge
  /** Agents are served, if there is room for them. */
  readonly isServing: boolean
  /** Those that nodes are told. */
  readonly exclusions: readonly Exclusion[]
  readings(): Readings
  stop(): Promise<void>
}

export const usualMostStreams = 2000
const usualProgressMs = 10_000
const tooOld = 'what is known here is older than --max-staleness'
/**
 * Changes that come within this time are sent together, and later ones wait until this time and some for each stream
 * has passed: what a change costs is mostly messages, and with 500 streams there are 20 a second for each at most.
 */
const gatherMs = 5
const gatherMsPerStream = 0.1
const usualTimes = {
  /** An agent that acknowledges nothing for so long is cut off, since what it is to hear would grow without end. */
  acknowledgedMs: 60_000,
  /** Whoever is refused hears so after this time, so that it does not ask in a loop. */
  refusedMs: 1000,
  /** Whoever does not take the end of its stream for so long loses the connection. */
  endedMs: 5000,
  /** A stream's token is looked at again between this and twice this. */
  tokenMs: 30 * 60_000,
  /** A stream ends between this and twice this, so that agents come back to their zone and spread over replicas again. */
  streamMs: 60 * 60_000,
}

const channelOptions = {
  // An agent that comes back names all that it has: 100,000 objects are some 8 MB.
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.max_concurrent_streams': 4,
  // Whoever has no stream that is served loses the connection.
  'grpc.max_connection_idle_ms': 30_000,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
}

interface Stream {
  readonly call: Call
  readonly subscriber: Subscriber
  /** Of what was sent last, by performance.now(). */
  sent: number
  /** The agent has said which node it is of, if it has to. */
  isNamed: boolean
  /** The node that it has said. */
  node: string | undefined
  /** What the agent was told last; undefined where nothing was. */
  isCutOff?: boolean
}

/** Agents are served once the source has said that everything is known. Rejects where the address is taken. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { log, bearers, mostStreams = usualMostStreams, progressMs = usualProgressMs, maxStalenessMs } = options
  const times = { ...usualTimes, ...options.times }
  const streams = new Set<Stream>()
  const sent = { responses: 0, bytes: 0 }
  const ended = new Map<status, number>()
  let flushing: NodeJS.Timeout | undefined
  let flushed = 0
  const flush = () => {
    flushing = undefined
    flushed = performance.now()
    for (const stream of streams) send(stream)
  }
  const send = (stream: Stream, tellsProgress = false) => {
    const response = stream.subscriber.next(tellsProgress)
    if (!response) return
    stream.sent = performance.now()
    sent.responses++
    sent.bytes += response.length
    stream.call.write(response)
  }
  const knowledge = new Knowledge((type, name, scopes) => {
    for (const { subscriber } of streams) subscriber.changed(type, name, scopes)
    if (streams.size === 0 || flushing) return
    const restMs = flushed + streams.size * gatherMsPerStream - performance.now()
    flushing = setTimeout(flush, Math.max(gatherMs, restMs))
  }, log)
  knowledge.freshness.onBack(() => streams.forEach(tellFreshness))
  const { store, freshness, ready } = knowledge
  const failures = new Failures(ready, options.failureTimes)
  const exchange = new Exchange(failures, log, (begun, ended) => {
    for (const note of notesOf(begun, ended, endpoint => ready.podOf(endpoint))) options.tell?.(note)
    options.exclusionsChanged?.()
  })
  const isTooOld = () => maxStalenessMs !== undefined && (freshness.ageMs ?? 0) > maxStalenessMs
  const tellFreshness = (stream: Stream) => {
    const { seen, isCutOff } = freshness
    if (seen === undefined || stream.isCutOff === isCutOff) return
    stream.isCutOff = isCutOff
    stream.call.write(encodeFreshness({ seen, isCutOff }))
  }
  const ticking = setInterval(() => {
    for (const stream of streams) {
      tellFreshness(stream)
      if (isTooOld()) end(stream.call, status.UNAVAILABLE, tooOld)
      else if (!stream.subscriber.isWaiting) send(stream, true)
      else if (performance.now() - stream.sent > times.acknowledgedMs)
        end(stream.call, status.ABORTED, 'nothing acknowledged')
    }
  }, progressMs)

  /** An agent that reads nothing does not hear of it: a status waits for what was written before. */
  const end = (call: Call, code: status, details: string) => {
    const peer = call.getPeer()
    ended.set(code, (ended.get(code) ?? 0) + 1)
    call.removeAllListeners('data')
    call.resume()
    call.emit('error', { code, details })
    const timer = setTimeout(() => listener.cut(peer), times.endedMs)
    call.once('close', () => clearTimeout(timer))
  }
  const lastsMs = () => times.streamMs * (1 + Math.random())
  const serveFacts = (call: Call, node: string | undefined) => {
    if (isTooOld()) return end(call, status.UNAVAILABLE, tooOld)
    if (!knowledge.isKnown) return end(call, status.UNAVAILABLE, 'not everything is known here yet')
    if (streams.size >= mostStreams) return end(call, status.RESOURCE_EXHAUSTED, `${mostStreams} streams are served`)
    const subscriber = new Subscriber(store)
    const stream: Stream = { call, subscriber, sent: performance.now(), isNamed: node === undefined, node }
    streams.add(stream)
    const lasting = setTimeout(() => end(call, status.UNAVAILABLE, 'it has lasted for long enough'), lastsMs())
    for (const event of ['cancelled', 'error', 'close']) {
      call.on(event, () => {
        clearTimeout(lasting)
        streams.delete(stream)
      })
    }
    call.on('end', () => call.end())
    call.on('data', (bytes: Uint8Array) => {
      try {
        receive(stream, bytes, node)
        send(stream)
      } catch (error) {
        log.warn({ peer: call.getPeer(), reason: (error as Error).message }, 'stream of an agent ended')
        end(call, status.INVALID_ARGUMENT, (error as Error).message)
      }
    })
    // An agent learns by this that it is served, and says only then what it has.
    call.sendMetadata(sayFormat(new Metadata()))
    tellFreshness(stream)
  }
  const serveFailures = (call: Call, node: string | undefined) => {
    if (!knowledge.isKnown) return end(call, status.UNAVAILABLE, 'not everything is known here yet')
    // Else whoever has one token could speak for all nodes.
    if (bearers && node === undefined) return end(call, status.PERMISSION_DENIED, 'the token is bound to no node')
    exchange.serve(call, node, reason => end(call, status.INVALID_ARGUMENT, reason))
    call.sendMetadata(sayFormat(new Metadata()))
  }
  type Handler = handleBidiStreamingCall<Uint8Array, Uint8Array>
  const admitTo =
    (serve: (call: Call, node: string | undefined) => void): Handler =>
    async call => {
      const strange = isNoFormat(call.metadata)
      if (strange !== undefined) {
        await sleep(times.refusedMs)
        return end(call, status.FAILED_PRECONDITION, strange)
      }
      if (!bearers) return serve(call, undefined)
      const found = await identify(call, bearers)
      if ('code' in found && found.isFinal) await sleep(times.refusedMs)
      if (call.cancelled) return
      if ('code' in found) return end(call, found.code, found.details)
      reviewAgain(call, bearers, times.tokenMs, ({ code, details }) => end(call, code, details))
      serve(call, found.node)
    }

  setLogVerbosity(logVerbosity.NONE)
  const server = new Server(channelOptions)
  server.addService(discoveryService, { deltaAggregatedResources: admitTo(serveFacts) } as UntypedServiceImplementation)
  server.addService(failuresService, { exchange: admitTo(serveFailures) } as UntypedServiceImplementation)
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = await listenForAgents(options, connection => injector.injectConnection(connection))

  return {
    port: listener.port,
    knowledge,
    get isServing() {
      return knowledge.isKnown && !isTooOld()
    },
    get exclusions() {
      return failures.settled(performance.now()) ?? []
    },
    readings: () => ({
      streams: streams.size,
      nodes: new Set([...streams].flatMap(({ node }) => node ?? [])).size,
      resources: type => store.all(type).size,
      ...{ sent, ended, freshness, exclusions: failures.exclusions },
    }),
    stop: async () => {
      clearTimeout(flushing)
      clearInterval(ticking)
      exchange.stop()
      listener.stop()
      for (const { call } of streams) call.end()
      injector.drain(drainMs)
      await shutdown(server)
    },
  }
}

/**
 * @param node that the agent's token is bound to
 * @throws Error where it is no request, or for what there is not
 */
function receive(stream: Stream, bytes: Uint8Array, node: string | undefined): void {
  const request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
  if (node !== undefined && (request.node || !stream.isNamed) && request.node?.id !== node) {
    throw new Error(`${request.node ? `node ${show(request.node.id)}` : 'no node'} shows a token of node ${node}`)
  }
  stream.isNamed = true
  stream.node ??= request.node?.id
  const type = typeOfUrl(request.typeUrl)
  if (type === undefined) throw new Error(`${show(request.typeUrl)} is not served here`)
  stream.subscriber.request({
    type,
    subscribe: request.resourceNamesSubscribe,
    initialVersions: request.initialResourceVersions,
    nonce: request.responseNonce,
  })
}
