/** The configuration of a kernel layer, whichever backend writes it. */

import type { IpFamily } from '../net/address.ts'
import type { ClientAddress } from '../services/settings/clientaddress.ts'
import type { CommandPrefix } from './system/command.ts'

export const detectLocalModes = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'] as const
export type DetectLocalMode = (typeof detectLocalModes)[number]

export interface MasqueradeOptions {
  /** The packet mark bit of new connections whose source address is to become the node's. */
  readonly masqueradeMark: number
  readonly masqueradeAll: boolean
  /** How pods of this node are told from others. By a CIDR that is not given or not known: not at all. */
  readonly detectLocalMode: DetectLocalMode
  readonly podBridgeInterface: string | undefined
  readonly podInterfaceNamePrefix: string | undefined
}

export interface RulesetOptions extends MasqueradeOptions {
  /** The packet and conntrack mark bit of connections that are redirected to Envoy. One bit; other bits are others'. */
  readonly steeringMark: number
  /** The packet mark bit that Envoy sets on its own connections. */
  readonly envoyMark: number
  /** The port of Envoy's redirect listener; its shared listener has the next one. */
  readonly targetPort: number
  /** Default: forwarded-for. */
  readonly clientAddress?: ClientAddress
  /** As in PlanOptions. */
  readonly tracksUse?: boolean
}

export interface NodePlanOptions {
  readonly families: readonly IpFamily[]
  /** Which addresses of the node open node ports: canonical CIDRs, and `primary` for the node's primary ones. */
  readonly nodeportAddresses: readonly string[]
  readonly detectLocalMode: DetectLocalMode
  /** Of all pods, canonical; the first of a family counts, in the mode ClusterCIDR. */
  readonly clusterCidr: readonly string[]
  /** As in `PlanOptions`. */
  readonly ownsClusterIPs: boolean
}

export interface PlanOptions {
  readonly families: readonly IpFamily[]
  readonly nodeName: string
  /** Whether every cluster IP is ours, with no kube-proxy beside: what leads to none of their ports is refused. */
  readonly ownsClusterIPs: boolean
  /** Whether the kernel records which ports that are for Envoy are called. Default: no. */
  readonly tracksUse?: boolean
}

export interface KernelOptions extends RulesetOptions, NodePlanOptions, PlanOptions {
  readonly families: readonly IpFamily[]
  readonly nodeName: string
  readonly routeTable: number
  /** Of our routing rule. */
  readonly rulePriority: number
  /** After so long without an agent our rules step behind kube-proxy's, in milliseconds; 0: never. */
  readonly abandonAfter: number
  /** Words before each command, for tests; see `CommandPrefix`. */
  readonly prefix?: CommandPrefix
  /**
   * The network namespace to write to, by its path, for tests; undefined for this process's own. `prefix` leads there,
   * too.
   */
  readonly netns?: string
  /** Between two transactions, in which changes are gathered. Default 2. */
  readonly coalesceMs?: number
  /** How often the agent checks that the tables are there, beside the kernel's notifications. Default 30 s. */
  readonly presenceMs?: number
  /** How often all is compared, at most. Default 5 minutes. */
  readonly comparisonMs?: number
  /** How much of the time comparisons may take. Default 0.01. */
  readonly comparisonShare?: number
}
