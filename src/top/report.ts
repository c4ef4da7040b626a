/** The report of `lightpath top` at one time, of one node or of many. */

import type { PortTraffic } from './traffic.ts'

export interface Report {
  /** ISO 8601. */
  readonly time: string
  /** Rates are over so many seconds before. */
  readonly intervalSeconds: number
  readonly nodes: readonly NodeOfReport[]
  readonly ports: readonly PortTraffic[]
}

export interface NodeOfReport {
  readonly name: string
  /** Why nothing is known of it now. */
  readonly error?: string
}

export interface Watching {
  readonly intervalMs: number
  /** `namespace` or `namespace/name`; undefined for all Services. */
  readonly chosen: string | undefined
  readonly signal: AbortSignal
}
