/** What an agent is told at its start, as flags and their proofs say. */

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
  /** Where agent and Envoy listen on this node. */
  readonly reservedPorts: ReadonlySet<number>
  /** What writes the kernel layer. */
  readonly backend: KernelBackend
  /** At the start. */
  readonly clientAddress: ClientAddressChoice
  /** Whether it may change, once the client's address is proven to work. */
  readonly provesClientAddress: boolean
  readonly drainTime: number
  /** Lines a second of a Service port. */
  readonly accessLogRate: number
  /** Takes the lines of the access log, each with its newline. */
  readonly writeAccessLog: (line: string) => void
  readonly envoyPortsPerService: number
  readonly envoyPortsPerNamespace: number
  /** How many ports Envoy takes on this node. */
  readonly envoyPorts: number | 'all'
  /** How many endpoints Envoy has of a port, on this node; 0: all. */
  readonly envoyEndpointsPerPort: number
  /** Of ports whose settings name none. */
  readonly lbPolicy: NodeLbPolicy
  /** Whether the path from pods to Envoy is tested; without, it counts as open. */
  readonly pathTest: boolean
}
