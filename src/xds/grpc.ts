/** Defines the services on the xDS socket for grpc-js: bytes in, bytes out. */

import type { Server } from '@grpc/grpc-js'

// grpc-js wants Buffers: the same memory, seen as one.
export const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A method whose messages stay bytes for those who call and serve it. */
export function bytesMethod(path: string, isStream: boolean) {
  return {
    path,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  } as const
}

const discovery = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
export const discoveryService = { deltaAggregatedResources: bytesMethod(discovery, true) } as const

const logs = '/opentelemetry.proto.collector.logs.v1.LogsService/Export'
export const accessLogService = { export: bytesMethod(logs, false) } as const

/** An ExportLogsServiceResponse: everything is accepted. */
export const allTaken = new Uint8Array()

/** How long clients may take to disconnect when the server stops. */
export const drainMs = 1000

export const channelOptions = {
  // The first request of a client that has 100,000 resources names them all.
  'grpc.max_receive_message_length': 64 << 20,
  // Finds clients whose machine is gone. Generous, since an Envoy that loads much configuration answers late.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 60_000,
}

/** Cuts streams that clients do not end after a second. */
export function shutdown(server: Server): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(() => server.forceShutdown(), drainMs)
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
