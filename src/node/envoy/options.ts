/** What the Envoy layer of a node needs, and whom it tells. */

import type { Activity } from '../../envoy/program/admin.ts'
import type { SubsetOptions } from '../../envoy/resources/subset.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { NodeLbPolicy } from '../../services/settings/settings.ts'
import type { RedirectMove } from '../lifecycle/redirectset.ts'
import type { EnvoysOptions } from './envoys.ts'

export interface EnvoyLayerOptions extends EnvoysOptions, SubsetOptions {
  readonly settleMs: number
  readonly drainMs: number
  readonly drainIntervalMs: number
  /** See `NodeOptions`. */
  readonly clientMark: number | undefined
  readonly redirectPort: number
  /** See `BalancingNode`. */
  readonly lbPolicy: NodeLbPolicy
  /** Where the module of an Envoy is to keep what it sees of endpoints. */
  readonly latencyDirectory: string
  /** Whether no process but an Envoy listens on that port. */
  readonly isPortEnvoys: () => boolean
  readonly redirect: (addresses: readonly VipPort[], isRedirected: boolean) => void
  readonly clearRedirects: () => void
  /** Connections that came by these shall end: Envoy may connect to no endpoint of theirs any more. */
  readonly endConnections: (addresses: readonly VipPort[]) => void
  /** Frontends, by id, that went to Envoy or left it, each for itself. */
  readonly onMoved: (ids: readonly string[], move: RedirectMove) => void
  /** Undefined where Envoy does not answer. */
  readonly activity: () => Promise<Activity | undefined>
  readonly onNack: (servicePort: string) => void
  /** A changed resource is in effect in Envoy, this long after the change's arrival. */
  readonly onProgrammed: (frontend: string, ms: number) => void
  readonly onUp: (up: boolean) => void
  /** Envoy began to listen for redirected connections, or ceased to: `listening` says for which families. */
  readonly onListening: () => void
  readonly onConnected: () => void
}
