/** What the kernel layer, the Envoy layer, probes and watches of a node report. One place hears all of it: `Agent`. */

import type { Flush, SyncResult } from '../kernel/layer.ts'
import type { Reconciliation } from '../kernel/system/conntrack.ts'
import type { IpFamily } from '../net/address.ts'
import type { LogRecord } from '../observe/accesslog/records.ts'
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
  /** Whether connections may be redirected to Envoys is another now. */
  | { readonly type: 'Envoy up'; readonly up: boolean }
  /** It is short of memory. */
  | { readonly type: 'Envoy overloaded' }
  /** It began to listen for redirected connections, or ceased to. */
  | { readonly type: 'Envoy listening' }
  /** Another process began to listen on its port, or ceased to. */
  | { readonly type: 'redirect port changed' }
  /** No Envoy can connect. */
  | { readonly type: 'xDS server failed' }
  /** Frontends, by id, were promoted or demoted, each for itself. */
  | { readonly type: 'frontends moved'; readonly ids: readonly string[]; readonly move: RedirectMove }
  /** A change of a frontend is in effect in Envoy, so long after it arrived. */
  | { readonly type: 'frontend programmed'; readonly id: string; readonly ms: number }
  | { readonly type: 'resource rejected'; readonly servicePort: string }
  | { readonly type: 'request logged'; readonly servicePort: string; readonly record: LogRecord }
  | { readonly type: 'request not logged'; readonly servicePort: string }
  | { readonly type: 'endpoint ejected'; readonly servicePort: string }

type ProbeEvent =
  /** Something may take packets on the path from pods to Envoy. */
  | { readonly type: 'path suspected'; readonly family: IpFamily; readonly why: string }
  /** Pods are under routing rules that none was under before. */
  | { readonly type: 'pods differ' }
  | { readonly type: 'client address chosen'; readonly choice: ClientAddressChoice }

type PlanEvent =
  /** These ports are in Envoy's budget now, or out of it, as the node calls them or as they fill Envoy. */
  | { readonly type: 'budget moved'; readonly ids: readonly string[] }
  /** Another proxy has had its time to take this Service over. */
  | { readonly type: 'handover over'; readonly service: string }

export type NodeEvent =
  | KernelEvent
  | EnvoyEvent
  | ProbeEvent
  | PlanEvent
  /** In place of what was said of this origin before. */
  | { readonly type: 'problems'; readonly origin: string; readonly problems: readonly Problem[] }

export type Report = (event: NodeEvent) => void
