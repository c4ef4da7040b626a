/** One stream to a control plane: what it says, decoded, each response acknowledged once it has been taken. */

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, type ClientDuplexStream, credentials, status } from '@grpc/grpc-js'
import { DeltaDiscoveryRequestSchema } from '../../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { readFacts, type Told } from '../../facts/told.ts'
import { type FactType, typeUrlOf } from '../../facts/types.ts'
import { discoveryService } from '../../xds/grpc.ts'

export interface StreamListener {
  /** The control plane serves this stream. */
  accepted(): void
  told(told: Told): void
  /** Called once, with why. */
  ended(reason: string): void
}

/** How long a control plane may take to accept a stream. */
const acceptMs = 5000
const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const channelOptions = {
  // A response ends after 256 KiB; a single object may be longer.
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.enable_retries': 0,
  // Finds a control plane whose machine is gone.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
}

export class FactsStream {
  readonly #listener: StreamListener
  readonly #nodeName: string
  readonly #client: Client
  readonly #stream: ClientDuplexStream<Uint8Array, Uint8Array>
  readonly #timer: NodeJS.Timeout
  #isOpen = true

  /** @param address such as `127.0.0.1:9444` */
  constructor(address: string, nodeName: string, listener: StreamListener) {
    this.#listener = listener
    this.#nodeName = nodeName
    this.#client = new Client(address, credentials.createInsecure(), channelOptions)
    this.#stream = this.#client.makeBidiStreamRequest(
      discoveryService.deltaAggregatedResources.path,
      asIs,
      (bytes: Buffer): Uint8Array => bytes,
    )
    this.#timer = setTimeout(() => this.#end(`it did not accept a stream within ${acceptMs / 1000} s`), acceptMs)
    this.#stream.on('metadata', () => {
      clearTimeout(this.#timer)
      if (this.#isOpen) listener.accepted()
    })
    this.#stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    this.#stream.on('status', ({ code, details }) => this.#end(details || `the stream ended with status ${code}`))
    // Comes with a status, too.
    this.#stream.on('error', () => undefined)
  }

  /** @param versions by name, of what is held of these scopes */
  subscribe(type: FactType, scopes: readonly string[], versions: Record<string, string>): void {
    this.#send({
      node: { id: this.#nodeName },
      typeUrl: typeUrlOf(type),
      resourceNamesSubscribe: [...scopes],
      initialResourceVersions: versions,
    })
  }

  close(): void {
    this.#end('it was closed')
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#isOpen) return
    let told: Told
    try {
      told = readFacts(bytes)
    } catch (error) {
      this.#end((error as Error).message)
      return
    }
    this.#listener.told(told)
    const { type, nonce, unreadable } = told
    const message = unreadable.map(({ name, reason }) => `${name}: ${reason}`).join('; ')
    const errorDetail = message === '' ? undefined : { code: status.INVALID_ARGUMENT, message }
    this.#send({ typeUrl: typeUrlOf(type), responseNonce: nonce, errorDetail })
  }

  #send(request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    if (this.#isOpen)
      this.#stream.write(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request)))
  }

  #end(reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    clearTimeout(this.#timer)
    this.#stream.cancel()
    this.#client.close()
    this.#listener.ended(reason)
  }
}
