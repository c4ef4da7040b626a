import assert from 'node:assert/strict'
import { connect, constants } from 'node:http2'
import { test } from 'node:test'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, type ClientDuplexStream, credentials, Metadata, status } from '@grpc/grpc-js'
import { DeltaDiscoveryRequestSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { sayFormat } from '../facts/format.ts'
import { typeUrlOf } from '../facts/types.ts'
import { Bearers, type Create } from '../observe/access/bearers.ts'
import { aService, put } from '../services/testing.ts'
import { silentLog, until } from '../sources/testing.ts'
import { discoveryService } from '../xds/grpc.ts'
import { factsAccess } from './admission.ts'
import { type ControlPlaneOptions, startControlPlane } from './server.ts'

const { path } = discoveryService.deltaAggregatedResources
type Request = MessageInitShape<typeof DeltaDiscoveryRequestSchema>
const services = { typeUrl: typeUrlOf('Service'), resourceNamesSubscribe: ['*'] }

function encoded(request: Request): Uint8Array {
  return toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request))
}

/** What an API server says of a token of node1: it may change its mind, or be away. */
class ApiServer {
  says: 'allowed' | 'unauthenticated' | 'away' = 'allowed'

  readonly create: Create = async (_path, object) => {
    if (this.says === 'away') throw new Error('away')
    const { spec } = object as { readonly spec: { readonly token?: string; readonly audiences?: unknown } }
    if (spec.token === undefined) return { status: { allowed: true } }
    if (this.says === 'unauthenticated') return { status: {} }
    const extra = { 'authentication.kubernetes.io/node-name': ['node1'] }
    return { status: { authenticated: true, user: { username: 'agent', extra }, audiences: spec.audiences } }
  }
}

interface Stream {
  readonly call: ClientDuplexStream<Uint8Array, Uint8Array>
  /** The status with which it ended, and after how many milliseconds. */
  ended?: { readonly code: number; readonly details: string; readonly ms: number }
  responses: number
}

async function withControlPlane(
  options: Partial<ControlPlaneOptions>,
  body: (port: number, open: (request: Request, metadata?: Metadata) => Stream) => Promise<void>,
): Promise<void> {
  const address = { address: '127.0.0.1', port: 0 }
  const controlPlane = await startControlPlane({ address, log: silentLog, progressMs: 20, ...options })
  controlPlane.knowledge.changes([put(aService())])
  controlPlane.knowledge.synced()
  const client = new Client(`127.0.0.1:${controlPlane.port}`, credentials.createInsecure())
  const open = (request: Request, metadata = sayFormat(new Metadata())) => {
    metadata.set('authorization', 'Bearer token')
    const began = performance.now()
    const asIs = (bytes: Uint8Array) => Buffer.from(bytes)
    const call = client.makeBidiStreamRequest(path, asIs, (bytes: Buffer): Uint8Array => bytes, metadata)
    const stream: Stream = { call, responses: 0 }
    call.on('data', () => stream.responses++)
    call.on('error', () => undefined)
    call.on('status', ({ code, details }) => (stream.ended = { code, details, ms: performance.now() - began }))
    call.write(encoded(request))
    return stream
  }
  try {
    await body(controlPlane.port, open)
  } finally {
    client.close()
    await controlPlane.stop()
  }
}

const hasEnded = (stream: Stream) =>
  until(
    () => stream.ended !== undefined,
    () => `it goes on after ${stream.responses} responses`,
  )
const isServed = (stream: Stream) =>
  until(
    () => stream.responses > 0,
    () => JSON.stringify(stream.ended),
  )

test('an agent that acknowledges nothing loses its stream, and its connection where it reads nothing', async () => {
  await withControlPlane({ times: { acknowledgedMs: 50, endedMs: 50 } }, async (port, open) => {
    const reader = open(services)
    await hasEnded(reader)
    assert.equal(reader.ended!.code, status.ABORTED)
    // The server may send it nothing.
    const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } })
    let isGone = false
    const format = { 'lightpath-facts-format': '1' }
    session.on('error', () => undefined).on('close', () => (isGone = true))
    const headers = { [constants.HTTP2_HEADER_METHOD]: 'POST', [constants.HTTP2_HEADER_PATH]: path }
    const request = session.request({ ...headers, 'content-type': 'application/grpc', te: 'trailers', ...format })
    request.on('error', () => undefined)
    const message = encoded(services)
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    request.write(Buffer.concat([prefix, message]))
    try {
      await until(
        () => isGone,
        () => 'the connection stays',
      )
    } finally {
      session.destroy()
    }
  })
})

test('a stream goes on while the API server is away, and ends when it does not know the token any more', async () => {
  const api = new ApiServer()
  let now = 0
  const bearers = new Bearers(api.create, factsAccess, { now: () => now })
  let asked = 0
  const verdict = bearers.verdict.bind(bearers)
  bearers.verdict = (token, peer) => {
    asked++
    return verdict(token, peer)
  }
  await withControlPlane({ bearers, times: { tokenMs: 50, acknowledgedMs: 60_000 } }, async (_port, open) => {
    const stream = open({ ...services, node: { id: 'node1' } })
    await isServed(stream)
    api.says = 'away'
    now = 2 * 3600e3
    const before = asked
    await until(
      () => asked > before + 3,
      () => 'the token is not looked at',
    )
    assert.equal(stream.ended, undefined)
    api.says = 'unauthenticated'
    await hasEnded(stream)
    assert.equal(stream.ended!.code, status.UNAUTHENTICATED)
  })
})

test('a stream ends after a while, so that agents choose anew', async () => {
  await withControlPlane({ times: { streamMs: 100, acknowledgedMs: 60_000 } }, async (_port, open) => {
    const stream = open(services)
    await isServed(stream)
    await hasEnded(stream)
    assert.equal(stream.ended!.code, status.UNAVAILABLE)
  })
})

test('whoever is refused for good hears so after a while', async () => {
  const api = new ApiServer()
  api.says = 'unauthenticated'
  const bearers = new Bearers(api.create, factsAccess)
  await withControlPlane({ bearers, times: { refusedMs: 300 } }, async (_port, open) => {
    const stream = open(services)
    await hasEnded(stream)
    assert.equal(stream.ended!.code, status.UNAUTHENTICATED)
    assert.ok(stream.ended!.ms >= 290)
  })
})

test('an agent of another format, or of none, hears which one is spoken here', async () => {
  await withControlPlane({ times: { refusedMs: 10 } }, async (_port, open) => {
    const other = new Metadata()
    other.set('lightpath-facts-format', '2')
    for (const [metadata, says] of [
      [other, /says format 2 of facts, and this one speaks format 1/],
      [new Metadata(), /says no format of facts/],
    ] as const) {
      const stream = open(services, metadata)
      await hasEnded(stream)
      assert.equal(stream.ended!.code, status.FAILED_PRECONDITION)
      assert.match(stream.ended!.details, says)
    }
  })
})

test('agents that come while many tokens are looked at wait for their turn', async () => {
  const gate = Promise.withResolvers<void>()
  const api = new ApiServer()
  const bearers = new Bearers(async (path, object) => {
    await gate.promise
    return api.create(path, object)
  }, factsAccess)
  await withControlPlane({ bearers }, async (_port, open) => {
    // Two of an address are looked at at once.
    const streams = Array.from({ length: 4 }, () => open({ ...services, node: { id: 'node1' } }))
    setTimeout(gate.resolve, 300)
    for (const stream of streams) await isServed(stream)
  })
})

test('an agent whose token is of a node has to say first which node it is of', async () => {
  const bearers = new Bearers(new ApiServer().create, factsAccess)
  await withControlPlane({ bearers }, async (_port, open) => {
    const nameless = open(services)
    await hasEnded(nameless)
    assert.match(nameless.ended!.details, /^no node shows a token of node node1$/)
    const other = open({ ...services, node: { id: 'x'.repeat(5000) } })
    await hasEnded(other)
    assert.match(other.ended!.details, /^node "x{79}… shows a token of node node1$/)
  })
})
