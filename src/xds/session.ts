/** Serves one stream of a client: decodes requests, sends responses as bytes. The first request names the node. */

import { fromBinary } from '@bufbuild/protobuf'
import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Node } from '../envoy/api/envoy/config/core/v3/base_pb.js'
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
} from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import type { ResourceRef, TypeUrl } from '../envoy/resource.ts'
import { Client, type ClientOptions } from './client/client.ts'
import type { ClientEvents, Nack, VersionedRef } from './client/messages.ts'
import { encodeResponse } from './response.ts'
import type { ResourceStore } from './store.ts'

export interface ClientInfo {
  /** Identifies the stream: a client that connects again has another. */
  readonly id: number
  readonly nodeId: string
  /** Such as 1.40.0; '' where the client does not report it. */
  readonly envoyVersion: string
  /** Names of the extensions that the client was built with. */
  readonly extensions: readonly string[]
  /** What its bootstrap says of itself: strings of Node.metadata. */
  readonly metadata: ReadonlyMap<string, string>
}

/** Called synchronously with what happens to clients; `connected` comes first of a client, `disconnected` last. */
export interface XdsObserver {
  connected(client: ClientInfo): void
  acknowledged(clientId: number, resources: readonly VersionedRef[]): void
  gone(clientId: number, refs: readonly ResourceRef[]): void
  nacked(clientId: number, nack: Nack): void
  settled(clientId: number): void
  active(clientId: number): void
  unknown(clientId: number, refs: readonly ResourceRef[]): void
  disconnected(clientId: number): void
}

/** As pino has it. */
export interface XdsLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** Counted since the start, over all clients. */
export interface Traffic {
  requests: number
  nacks: number
  responses: number
  resources: number
  bytes: number
}

export interface SessionOptions extends ClientOptions {
  /** The resources of a node; undefined for one that is not served. */
  readonly storeOf: (nodeId: string) => ResourceStore | undefined
  readonly observer: XdsObserver
  readonly log: XdsLog
  readonly traffic: Map<TypeUrl, Traffic>
  /** Whether another client with this node id is connected. */
  readonly isConnected: (nodeId: string) => boolean
  /** There may be something to send. */
  readonly onChange: () => void
}

interface Served {
  readonly nodeId: string
  readonly client: Client
  readonly unsubscribe: () => void
}

type Stream = ServerDuplexStream<Uint8Array, Uint8Array>

/** One stream. */
export class Session {
  readonly id: number
  readonly #stream: Stream
  readonly #options: SessionOptions
  /** The client, from the first request on, which names the node. */
  #served: Served | undefined
  readonly #unknownTypes = new Set<string>()
  #writable = true
  #open = true

  constructor(id: number, stream: Stream, options: SessionOptions) {
    this.id = id
    this.#stream = stream
    this.#options = options
    stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    stream.on('drain', () => {
      this.#writable = true
      this.flush()
    })
  }

  get nodeId(): string | undefined {
    return this.#served?.nodeId
  }

  acknowledgedVersion(ref: ResourceRef): string | undefined {
    return this.#served?.client.acknowledgedVersion(ref)
  }

  setActive(active: boolean): void {
    this.#served?.client.setActive(active)
  }

  /** Called once, whoever ended the stream. */
  onEnd(ended: () => void): void {
    const close = () => {
      if (!this.#open) return
      this.#open = false
      ended()
      if (!this.#served) return
      this.#served.unsubscribe()
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

  /** Sends what there is to send, as long as the client reads. */
  flush(): void {
    while (this.#open && this.#writable) {
      const response = this.#served?.client.next()
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
      this.#refuseStream(
        status.INVALID_ARGUMENT,
        `request of ${bytes.length} bytes is no DeltaDiscoveryRequest: ${(error as Error).message}`,
      )
      return
    }
    this.#served ??= this.#introduce(request)
    if (!this.#served) return
    const typeUrl = this.#options.types.find(type => type.typeUrl === request.typeUrl)?.typeUrl
    if (!typeUrl) {
      this.#ignoreType(request.typeUrl)
      return
    }
    const counted = this.#counted(typeUrl)
    counted.requests++
    if (request.errorDetail) counted.nacks++
    this.#served.client.request({
      typeUrl,
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      initialVersions: request.initialResourceVersions,
      nonce: request.responseNonce,
      error: request.errorDetail?.message,
    })
    this.flush()
  }

  /** Undefined for a node that is not served. */
  #introduce({ node }: DeltaDiscoveryRequest): Served | undefined {
    const { log, observer, storeOf, onChange, isConnected } = this.#options
    const nodeId = node?.id ?? ''
    const store = storeOf(nodeId)
    if (!store) {
      this.#refuseStream(
        status.NOT_FOUND,
        `node ${JSON.stringify(nodeId)} is not served here; its Envoy's node id is the name of the node`,
      )
      return undefined
    }
    if (isConnected(nodeId)) {
      log.info(
        { client: this.id, node: nodeId },
        'xDS client with the node id of another one; each is served by itself',
      )
    }
    const info = clientInfo(this.id, nodeId, node)
    log.info({ client: this.id, node: nodeId, envoyVersion: info.envoyVersion }, 'xDS client connected')
    const client = new Client(store, this.#events(), this.#options)
    const unsubscribe = store.onChange(changed => {
      client.changed(changed)
      onChange()
    })
    observer.connected(info)
    return { nodeId, client, unsubscribe }
  }

  #events(): ClientEvents {
    const { id } = this
    const { log, observer } = this.#options
    return {
      acknowledged: resources => observer.acknowledged(id, resources),
      gone: refs => observer.gone(id, refs),
      nacked: nack => {
        const { ref, version, detail } = nack
        log.warn({ client: id, type: ref.typeUrl, name: ref.name, version, detail }, 'Envoy refused a resource')
        observer.nacked(id, nack)
      },
      settled: () => observer.settled(id),
      active: () => observer.active(id),
      unknown: refs => observer.unknown(id, refs),
      ignored: (type, reason) => log.warn({ client: id, type, reason }, 'xDS request ignored'),
    }
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

  #refuseStream(code: status, reason: string): void {
    this.#options.log.warn({ client: this.id, node: this.nodeId, reason }, 'xDS stream ended')
    this.#stream.emit('error', { code, details: reason })
  }

  #counted(typeUrl: TypeUrl): Traffic {
    let traffic = this.#options.traffic.get(typeUrl)
    if (!traffic) {
      traffic = { requests: 0, nacks: 0, responses: 0, resources: 0, bytes: 0 }
      this.#options.traffic.set(typeUrl, traffic)
    }
    return traffic
  }
}

function clientInfo(id: number, nodeId: string, node: Node | undefined): ClientInfo {
  const built =
    node?.userAgentVersionType.case === 'userAgentBuildVersion' ? node.userAgentVersionType.value : undefined
  const { majorNumber, minorNumber, patch } = built?.version ?? {}
  const envoyVersion = built?.version ? `${majorNumber}.${minorNumber}.${patch}` : ''
  const extensions = (node?.extensions ?? []).map(extension => extension.name)
  const metadata = new Map(Object.entries(node?.metadata ?? {}).map(([key, value]) => [key, String(value)]))
  return { id, nodeId, envoyVersion, extensions, metadata }
}
