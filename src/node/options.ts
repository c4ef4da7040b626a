/** The options of an agent, as flags and their checks determine them. */

import type { KernelBackend } from '../kernel/backend.ts'
import type { MasqueradeOptions, NodePlanOptions } from '../kernel/options.ts'
import type { IpFamily } from '../net/address.ts'
import type { ServiceScope } from '../plan/ports/scope.ts'
import type { NodeLbPolicy } from '../services/settings/settings.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'

export interface AgentOptions extends MasqueradeOptions, Omit<NodePlanOptions, 'ownsClusterIPs'> {
  readonly nodeName: string
  readonly services: ServiceScope
  readonly families: readonly IpFamily[]
  /** Directory of the sockets between agent and Envoy. */
  readonly envoySockets: string
  /** User id of Envoy, and its group's. */
  readonly envoyUser: number
  readonly redirectPort: number
  readonly steeringMark: number
  readonly envoyMark: number
  readonly routeTable: number
  readonly rulePriority: number
  /** As in KernelOptions. */
  readonly abandonAfter: number
  /** The ports on which the agent and Envoy listen on this node. */
  readonly reservedPorts: ReadonlySet<number>
  /** The backend that writes the kernel layer. */
  readonly backend: KernelBackend
  /** The value at the start. */
  readonly clientAddress: ClientAddressChoice
  /** Whether it may change, once the client's address is proven to work. */
  readonly provesClientAddress: boolean
  readonly drainTime: number
  /** Lines a second for each Service port. */
  readonly accessLogRate: number
  /** Takes the lines of the access log, each with its newline. */
  readonly writeAccessLog: (line: string) => void
  readonly envoyPortsPerService: number
  readonly envoyPortsPerNamespace: number
  /** How many ports this node's Envoy takes. */
  readonly envoyPorts: number | 'all'
  /** How many endpoints of a port this node's Envoy has; 0: all. */
  readonly envoyEndpointsPerPort: number
  /** How many of a port's endpoints are left out at most since other nodes find them dead; in percent. */
  readonly maxExcluded: number
  /** The policy of ports whose settings name none. */
  readonly lbPolicy: NodeLbPolicy
  /** Milliseconds that clients of ports whose settings do not say may be silent. */
  readonly firstBytesTimeout: number
  /** Whether the path from pods to Envoy is tested; if not, it counts as open. */
  readonly pathTest: boolean
}
