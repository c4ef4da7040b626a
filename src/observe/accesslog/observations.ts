/** Reads what Envoys report that becomes no line of the access log (envoy/resources/observations.ts). */

import type { LogRecord } from './records.ts'

/** Why a request was lost: its client ended before an endpoint had anything of it, or Envoy refused the answer. */
export type Loss = 'client-ended' | 'answer-refused'

export type Observation =
  /** A connection to a http port does not begin as HTTP: `server first`, `TLS` or `no HTTP` (native/). */
  { readonly what: 'spoke'; readonly spoke: string } | { readonly what: 'lost'; readonly loss: Loss }

/** Undefined for a record that is none. */
export function observationOf(record: LogRecord): Observation | undefined {
  const { spoke, flags = '', sent } = Object.fromEntries(record.fields())
  if (spoke !== undefined) return { what: 'spoke', spoke }
  const each = flags.split(',')
  if (each.includes('UPE')) return { what: 'lost', loss: 'answer-refused' }
  return each.includes('DC') && !(Number(sent) > 0) ? { what: 'lost', loss: 'client-ended' } : undefined
}
