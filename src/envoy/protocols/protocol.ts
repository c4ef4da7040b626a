/** What Envoy needs to know of a protocol: all that differs between http, tcp and those to come (protocols.ts). */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import type { PortState } from '../../plan/ports/port.ts'
import type { Settings } from '../../services/settings/settings.ts'
import type { TcpKeepaliveSchema } from '../api/envoy/config/core/v3/address_pb.js'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import type { Connections } from './httpfresh.ts'

/** The options of a node that filters depend on; see `NodeOptions`. */
export interface FilterNode {
  readonly latencies?: string | undefined
  readonly hasModule?: boolean
  readonly firstBytesTimeout?: number | undefined
}

/** The properties of a Service port that its filter depends on: not its endpoints, which change. */
export interface FilteredPort extends Pick<PortState, 'settings'> {
  /** The name of its cluster and routes. */
  readonly name: string
  readonly node: FilterNode
}

export interface Protocol {
  /** The network filters that serve a connection to the Service port, on a listener of its own. */
  readonly networkFilters: (port: FilteredPort) => readonly MessageInitShape<typeof FilterSchema>[]
  /** Whether connections on a listener of its own that do not begin as HTTP go on as TCP, to the same endpoints. */
  readonly isDetected?: boolean
  /** For protocols whose Service ports can share a listener. */
  readonly shared?: SharedProtocol
  /** The encoded RouteConfiguration, for protocols whose filter asks for one (RDS). */
  readonly routes?: (name: string, cluster: string, settings: Settings, routing: Routing) => Uint8Array
  /** How Envoy speaks to endpoints: `typed_extension_protocol_options` of the cluster. */
  readonly clusterOptions: (settings: Settings) => Readonly<Record<string, Any>>
  /** How the kernel asks whether an endpoint is still there that says nothing. */
  readonly upstreamKeepalive: MessageInitShape<typeof TcpKeepaliveSchema>
}

/** What the routes of a Service port depend on beside its settings. */
export interface Routing {
  /** Connections are to end, each after its next answer. */
  readonly isDraining: boolean
  /** How many endpoints beside the first may be tried. */
  readonly others: number
  readonly once: Connections
  /** The endpoint learns the client's address and protocol. */
  readonly addsForwarded: boolean
  readonly namespace: string
}

export interface SharedProtocol {
  /** Whether a Service port's connections have the listener's settings. */
  readonly fits: (settings: Settings) => boolean
  /** The network filters that serve connections to all the Service ports. */
  readonly networkFilters: (node: FilterNode) => readonly MessageInitShape<typeof FilterSchema>[]
  /**
   * The encoded ScopedRouteConfiguration: requests to this address, as `hostPort` writes it, take the routes of this
   * name.
   */
  readonly scope: (address: string) => Uint8Array
  /** How long a connection may be without a request, milliseconds. */
  readonly idleTimeout: number
}
