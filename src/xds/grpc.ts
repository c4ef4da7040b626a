/** Defines the services on the xDS socket for grpc-js: bytes in, bytes out. */

import type { Server } from '@grpc/grpc-js'

const method = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
// grpc-js wants Buffers: the same memory, seen as one.
const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
export const discoveryService = {
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

export const accessLogService = {
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
