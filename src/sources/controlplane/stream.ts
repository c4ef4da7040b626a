/** One stream to a control plane: what it says, decoded, each response acknowledged once it has been taken. */

import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, type ClientDuplexStream, credentials, Metadata, status } from '@grpc/grpc-js'
import { DeltaDiscoveryRequestSchema } from '../../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { failuresService } from '../../facts/failures.ts'
import { isNoFormat, sayFormat } from '../../facts/format.ts'
import { type FactsFreshness, readFreshness } from '../../facts/freshness.ts'
import { readFacts, type Told } from '../../facts/told.ts'
import { type FactType, typeUrlOf } from '../../facts/types.ts'
import { asIs, discoveryService } from '../../xds/grpc.ts'
import type { ExchangeStream } from './failures/exchange.ts'
import type { Replica } from './replicas/addresses.ts'
import type { Security } from './security.ts'

export interface StreamListener {
  /** The control plane serves this stream. */
  accepted(): void
  told(told: Told): void
  /** How old the facts of the control plane are: at the beginning, and when it is cut off or no longer. */
  fresh(freshness: FactsFreshness): void
  /** Called once, with why. */
  ended(reason: string): void
}

/** How long a control plane may take to accept a stream: 500 that connect at once take it some seconds. */
const acceptMs = 15_000
const channelOptions = {
  // A response ends after 64 KiB; a single object may be longer.
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.enable_retries': 0,
  // A connection of its own: a control plane takes few streams on one.
  'grpc.use_local_subchannel_pool': 1,
  // Proxies of the environment are for the way out of the cluster.
  'grpc.enable_http_proxy': 0,
  // Finds a control plane whose machine is gone.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
}

export class FactsStream {
  readonly #listener: StreamListener
  readonly #nodeName: string
  readonly #client: Client
  readonly #stream: ClientDuplexStream<Uint8Array, Uint8Array>
  readonly #metadata = sayFormat(new Metadata())
  readonly #timer: NodeJS.Timeout
  #exchange: ExchangeStream | undefined
  #isOpen = true

  /** @param security undefined for a stream without TLS */
  constructor({ address, host }: Replica, security: Security | undefined, nodeName: string, listener: StreamListener) {
    this.#listener = listener
    this.#nodeName = nodeName
    this.#client = security
      ? secureClient(address, host, security)
      : new Client(address, credentials.createInsecure(), channelOptions)
    if (security) this.#metadata.set('authorization', `Bearer ${security.token}`)
    this.#stream = this.#open(discoveryService.deltaAggregatedResources.path)
    this.#timer = setTimeout(() => this.#end(`it did not accept a stream within ${acceptMs / 1000} s`), acceptMs)
    this.#stream.on('metadata', (said: Metadata) => {
      clearTimeout(this.#timer)
      const strange = isNoFormat(said)
      if (strange !== undefined) this.#end(strange)
      if (this.#isOpen) listener.accepted()
    })
    this.#stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    this.#stream.on('status', ({ code, details }) => this.#end(details || `the stream ended with status ${code}`))
    // Comes with a status, too.
    this.#stream.on('error', () => undefined)
  }

  /** Opens a stream for `FailureExchange` on the same connection, which ends with this one; undefined where this has ended. */
  openExchange(): ExchangeStream | undefined {
    if (!this.#isOpen) return undefined
    this.#exchange = this.#open(failuresService.exchange.path)
    return this.#exchange
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

  close(reason: string): void {
    this.#end(reason)
  }

  #open(method: string): ClientDuplexStream<Uint8Array, Uint8Array> {
    return this.#client.makeBidiStreamRequest(method, asIs, (bytes: Buffer): Uint8Array => bytes, this.#metadata)
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#isOpen) return
    let told: Told
    try {
      const freshness = readFreshness(bytes)
      if (freshness) {
        this.#listener.fresh(freshness)
        return
      }
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
    // Calls outlive their client.
    this.#exchange?.cancel()
    this.#client.close()
    this.#listener.ended(reason)
  }
}

/** TLS has no server name that is an address (RFC 6066), and grpc-js wants one: so it gets another, and the address is checked. */
function secureClient(address: string, host: string, { authority }: Security): Client {
  const name = isIP(host) ? 'lightpath-controlplane' : host
  const check = (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate)
  const ssl = credentials.createSsl(Buffer.from(authority), null, null, { checkServerIdentity: check })
  return new Client(address, ssl, { ...channelOptions, 'grpc.ssl_target_name_override': name })
}
