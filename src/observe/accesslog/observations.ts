/** Reads what Envoys report that becomes no line of the access log (envoy/resources/observations.ts). */

import type { LogRecord } from './records.ts'

/** A connection to a http port does not begin as HTTP. `spoke` is `server first`, `TLS` or `no HTTP` (native/). */
export interface Observation {
  readonly what: 'spoke'
  readonly spoke: string
}

/** Undefined for a record that is none. */
export function observationOf(record: LogRecord): Observation | undefined {
  const { spoke } = Object.fromEntries(record.fields())
  return spoke === undefined ? undefined : { what: 'spoke', spoke }
}
