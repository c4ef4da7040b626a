/**
 * Says what an Envoy does before its memory is used up. Whoever may call a Service may fill it (a request may have
 * 256 KiB of headers), and an Envoy that is killed for it cuts everybody's connections.
 *
 * First it gives way to the kernel layer: from 80 % of its heap on each answer ends its connection. So does the
 * canary's, by which the agent knows, and empties the overlay (node/envoy/canary.ts). Then it resets the requests that
 * hold most. It never answers 503 for lack of memory, nor lets connections wait, since the kernel layer would serve
 * them. One that runs full all the same is ended by its container's limit, and the very next connection takes the
 * kernel layer.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/overload_manager/overload_manager
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { MemoryAllocatorManagerSchema } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import type { OverloadManagerSchema } from '../api/envoy/config/overload/v3/overload_pb.js'
import { DownstreamConnectionsConfigSchema } from '../api/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.js'
import { FixedHeapConfigSchema } from '../api/envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap_pb.js'
import { any, duration } from '../encoding.ts'
import { mostConnections } from '../program/connections.ts'

type OverloadManager = MessageInitShape<typeof OverloadManagerSchema>

const heap = 'envoy.resource_monitors.fixed_heap'
const connections = 'envoy.resource_monitors.global_downstream_max_connections'

/** Parts of the heap, in the order in which they are reached. */
const actions: Readonly<Record<string, number>> = {
  shrink_heap: 0.6,
  disable_http_keepalive: 0.8,
  close_idle_http_connections: 0.8,
}

/** @param heapBytes how much of the heap may be in use; beside it Envoy takes some 60 MB */
export function overloadManager(heapBytes: number): OverloadManager {
  return {
    refreshInterval: duration(500),
    resourceMonitors: [
      {
        name: heap,
        configType: {
          case: 'typedConfig',
          value: any(FixedHeapConfigSchema, { maxHeapSizeBytes: BigInt(heapBytes) }),
        },
      },
      {
        name: connections,
        configType: {
          case: 'typedConfig',
          value: any(DownstreamConnectionsConfigSchema, { maxActiveDownstreamConnections: BigInt(mostConnections) }),
        },
      },
    ],
    actions: [
      ...Object.entries(actions).map(([name, part]) => ({
        name: `envoy.overload_actions.${name}`,
        triggers: [{ name: heap, triggerOneof: { case: 'threshold', value: { value: part } } } as const],
      })),
      {
        name: 'envoy.overload_actions.reset_high_memory_stream',
        triggers: [
          {
            name: heap,
            triggerOneof: { case: 'scaled', value: { scalingThreshold: 0.85, saturationThreshold: 0.95 } },
          },
        ],
      },
    ],
    // Streams that hold less than 1 MiB are left alone.
    bufferFactoryConfig: { minimumAccountToTrackPowerOfTwo: 20 },
  }
}

/** Returns free memory to the node, which tcmalloc would keep. */
export const memoryAllocatorManager: MessageInitShape<typeof MemoryAllocatorManagerSchema> = {
  bytesToRelease: 64n << 20n,
  memoryReleaseInterval: duration(1000),
}
