/** An xDS server for node `n`, and clients that know nothing of the protocol's rules. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { type ClientDuplexStream, credentials, Client as GrpcClient, type StatusObject } from '@grpc/grpc-js'
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { type Resource, typeUrls } from '../envoy/resource.ts'
import { startXdsServer, type XdsServer } from './server.ts'
import type { XdsObserver } from './session.ts'
import { ResourceStore } from './store.ts'

const method = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes)

export const resource = (name: string, version: string, size = 10): Resource => ({
  typeUrl: typeUrls.cluster,
  name,
  version,
  encode: () => new Uint8Array(size).fill(7),
  requires: [],
})

interface Setup {
  /** The path of the server's socket. */
  readonly path: string
  readonly store: ResourceStore
  readonly server: XdsServer
  readonly log: readonly string[]
  readonly events: readonly string[]
  connect(): RawClient
}

/** A client that knows nothing of the protocol's rules. */
export class RawClient {
  readonly responses: DeltaDiscoveryResponse[] = []
  ended: StatusObject | undefined
  readonly stream: ClientDuplexStream<Uint8Array, Uint8Array>
  readonly #grpc: GrpcClient

  constructor(path: string) {
    this.#grpc = new GrpcClient(`unix:${path}`, credentials.createInsecure())
    this.stream = this.#grpc.makeBidiStreamRequest(method, asBuffer, (bytes: Buffer): Uint8Array => bytes)
    this.stream.on('data', (bytes: Uint8Array) => this.responses.push(fromBinary(DeltaDiscoveryResponseSchema, bytes)))
    this.stream.on('status', ended => {
      this.ended = ended
    })
    this.stream.on('error', () => {})
  }

  send(request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    this.stream.write(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request)))
  }

  acknowledge(response: DeltaDiscoveryResponse): void {
    this.send({ typeUrl: response.typeUrl, responseNonce: response.nonce })
  }

  close(): void {
    this.stream.cancel()
    this.#grpc.close()
  }
}

interface ServerOptions {
  readonly users?: readonly number[]
  /** Other nodes beside node `n`. */
  readonly others?: Readonly<Record<string, ResourceStore>>
}

export async function withServer(
  body: (setup: Setup) => Promise<void>,
  { users, others = {} }: ServerOptions = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-xds-'))
  const path = join(directory, 'xds.sock')
  const store = new ResourceStore()
  const [log, events]: [string[], string[]] = [[], []]
  const clients: RawClient[] = []
  const note = (fields: object, message: string) => log.push(`${message} ${JSON.stringify(fields)}`)
  const server = await startXdsServer({
    storeOf: node => (node === 'n' ? store : others[node]),
    path,
    users,
    observer: noteInto(events),
    log: { info: note, warn: note },
  })
  const connect = () => {
    const client = new RawClient(path)
    clients.push(client)
    return client
  }
  try {
    await body({ path, store, server, log, events, connect })
  } finally {
    for (const client of clients) client.close()
    await server.stop()
    rmSync(directory, { recursive: true })
  }
}

export function noteInto(events: string[]): XdsObserver {
  return {
    connected: ({ id, nodeId }) => events.push(`connected ${id} ${nodeId}`),
    acknowledged: (id, refs) =>
      events.push(...refs.map(({ name, version }) => `acknowledged ${id} ${name} ${version}`)),
    gone: (id, refs) => events.push(...refs.map(({ name }) => `gone ${id} ${name}`)),
    nacked: (id, { ref, version }) => events.push(`refused ${id} ${ref.name} ${version}`),
    settled: id => events.push(`settled ${id}`),
    active: id => events.push(`admitted ${id}`),
    unknown: (id, refs) => events.push(...refs.map(({ name }) => `unknown ${id} ${name}`)),
    disconnected: id => events.push(`disconnected ${id}`),
  }
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(5)) if (condition()) return
  throw new Error(`not within 10 s: ${what}`)
}

export const subscription = { node: { id: 'n' }, typeUrl: typeUrls.cluster }
