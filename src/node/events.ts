/** The events that the kernel layer, the Envoy layer, probes and watches of a node report to one receiver, `Agent`. */

import type { Flush, SyncResult } from '../kernel/layer.ts'
import type { Reconciliation } from '../kernel/system/connections/conntrack.ts'
import type { IpFamily } from '../net/address.ts'
import type { LogRecord } from '../observe/accesslog/records.ts'
import type { Shortage } from '../plan/envoy/heldback.ts'
import type { Problem } from '../services/problem.ts'
import type { RedirectMove } from './lifecycle/redirectset.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'

/** See `KernelObserver`. */
type KernelEvent =
  | { readonly type: 'kernel applied'; readonly ports: readonly string[] }
  | { readonly type: 'kernel flushed'; readonly family: IpFamily; readonly flush: Flush }
  | { readonly type: 'kernel drift'; readonly what: string }
  | { readonly type: 'kernel sync'; readonly family: IpFamily; readonly result: SyncResult }
  | { readonly type: 'kernel reconciled'; readonly families: readonly Reconciliation[] }
  | { readonly type: 'overlay switched'; readonly family: IpFamily; readonly isOff: boolean }
  | { readonly type: 'foreign rules' }

type EnvoyEvent =
  | { readonly type: 'Envoy connected' }
  /** Whether connections may be redirected to Envoys has changed. */
  | { readonly type: 'Envoy up'; readonly up: boolean }
  | { readonly type: 'Envoy overloaded'; readonly shortage: Shortage }
  /** Envoy began or ceased to listen for redirected connections. */
  | { readonly type: 'Envoy listening' }
  /** Another process began or ceased to listen on its port. */
  | { readonly type: 'redirect port changed' }
  /** No Envoy can connect. */
  | { readonly type: 'xDS server failed' }
  /** Frontends, by id, were promoted or demoted, one by one. */
  | { readonly type: 'frontends moved'; readonly ids: readonly string[]; readonly move: RedirectMove }
  /** A change of a frontend is in effect in Envoy, so long after it arrived. */
  | { readonly type: 'frontend programmed'; readonly id: string; readonly ms: number }
  | { readonly type: 'resource rejected'; readonly servicePort: string }
  | { readonly type: 'request logged'; readonly servicePort: string; readonly record: LogRecord }
  /** See `AccessLogOptions`. */
  | { readonly type: 'observation'; readonly servicePort: string; readonly record: LogRecord }
  | { readonly type: 'request not logged'; readonly servicePort: string }
  | { readonly type: 'endpoint ejected'; readonly servicePort: string }

type ProbeEvent =
  /** Something may take packets on the path from pods to Envoy. */
  | { readonly type: 'path suspected'; readonly family: IpFamily; readonly why: string }
  /** Pods are under routing rules that applied to no pod before. */
  | { readonly type: 'pods differ' }
  | { readonly type: 'client address chosen'; readonly choice: ClientAddressChoice }

type PlanEvent =
  /** These ports entered or left Envoy's budget, as the node calls them or as they fill Envoy, or are misnamed. */
  | { readonly type: 'budget moved'; readonly ids: readonly string[] }
  /** Another proxy has had its time to take over this Service. */
  | { readonly type: 'handover over'; readonly service: string }

export type NodeEvent =
  | KernelEvent
  | EnvoyEvent
  | ProbeEvent
  | PlanEvent
  /** Replaces the problems of this origin. */
  | { readonly type: 'problems'; readonly origin: string; readonly problems: readonly Problem[] }

export type Report = (event: NodeEvent) => void
