/** What the Envoy layer of a node needs, and to whom it reports. */

import type { Activity } from '../../envoy/program/admin.ts'
import type { Resource } from '../../envoy/resource.ts'
import type { SubsetOptions } from '../../envoy/resources/cluster/subset.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { NodeLbPolicy } from '../../services/settings/settings.ts'
import type { RedirectMove } from '../lifecycle/redirectset.ts'
import type { EnvoysOptions } from './envoys.ts'

export interface EnvoyLayerOptions extends EnvoysOptions, SubsetOptions {
  /** They come first among the bound listeners; every port needs that of its family. */
  readonly redirectListeners: readonly Resource[]
  readonly settleMs: number
  readonly drainMs: number
  readonly drainIntervalMs: number
  /** See `NodeOptions`. */
  readonly clientMark: number | undefined
  readonly redirectPort: number
  /** See `BalancingNode`. */
  readonly lbPolicy: NodeLbPolicy
  /** See `NodeOptions`. */
  readonly firstBytesTimeout: number
  /** The directory in which the module of an Envoy keeps what it observes of endpoints. */
  readonly latencyDirectory: string
  /** Whether no process but an Envoy listens on that port. */
  readonly isPortEnvoys: () => boolean
  readonly redirect: (addresses: readonly VipPort[], isRedirected: boolean) => void
  readonly clearRedirects: () => void
  /** Connections to these frontends shall end: Envoy may connect to none of their endpoints any more. */
  readonly endConnections: (addresses: readonly VipPort[]) => void
  /** Frontends, by id, that were promoted or demoted, one by one. */
  readonly onMoved: (ids: readonly string[], move: RedirectMove) => void
  /** Undefined where Envoy does not answer. */
  readonly activity: () => Promise<Activity | undefined>
  readonly onNack: (servicePort: string) => void
  /** A changed resource is in effect in Envoy, so long after the change arrived. */
  readonly onProgrammed: (frontend: string, ms: number) => void
  readonly onUp: (up: boolean) => void
  /** Envoy began or ceased to listen for redirected connections: `listening` says for which families. */
  readonly onListening: () => void
  readonly onConnected: () => void
}
