/** Kinds of values: how a text becomes one, and the other way round. */

import { formatDuration, parseDuration } from './duration.ts'

export type Value = string | number | boolean | undefined
/**
 * `ok: false` means that the text is none of what `accepts` says. Of a number or time beyond the range the value is the
 * nearest one within, which `nearest` is in words.
 */
type Parse = (
  text: string,
) => { readonly ok: true; readonly value: Value; readonly nearest?: string } | { readonly ok: false }

export interface Type {
  readonly accepts: string
  readonly parse: Parse
  readonly format: (value: Value) => string
}

const refused = { ok: false } as const
const accepted = (value: Value) => ({ ok: true, value }) as const

/** Returns the value, or the nearest one of the range. */
function within(value: number, min: number, max: number, format: Type['format']): ReturnType<Parse> {
  const nearest = Math.min(Math.max(value, min), max)
  return nearest === value ? accepted(value) : { ok: true, value: nearest, nearest: format(nearest) }
}

/** @param min, max as users write them */
export function duration(min: string, max: string): Type {
  const [minMs, maxMs] = [parseDuration(min)!, parseDuration(max)!]
  const format = (value: Value) => formatDuration(value as number)
  return {
    accepts: `a duration such as 5s, 1m30s or 500ms, from ${min} to ${max}`,
    parse: text => {
      const ms = parseDuration(text)
      return ms === undefined ? refused : within(ms, minMs, maxMs, format)
    },
    format,
  }
}

export function optionalDuration(min: string, max: string): Type {
  const limited = duration(min, max)
  return {
    accepts: `${limited.accepts}, or none`,
    parse: text => (text === 'none' || parseDuration(text) === 0 ? accepted(0) : limited.parse(text)),
    format: value => (value === 0 ? 'none' : limited.format(value)),
  }
}

export const boolean: Type = {
  accepts: 'true or false',
  parse: text => (text === 'true' || text === 'false' ? accepted(text === 'true') : refused),
  format: String,
}

export function oneOf(values: readonly string[]): Type {
  return {
    accepts: `one of ${values.join(', ')}`,
    parse: text => (values.includes(text) ? accepted(text) : refused),
    format: String,
  }
}

export function integer(min: number, max: number): Type {
  return {
    accepts: `a whole number from ${min} to ${max}`,
    parse: text => {
      return /^\d{1,20}$/.test(text) ? within(Number(text), min, max, String) : refused
    },
    format: String,
  }
}

/** Of retry-on, what an answer to a gRPC call says. */
export const grpcRetryConditions: readonly string[] = [
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]

/** https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#x-envoy-retry-on, and its gRPC list. */
const retryConditions: readonly string[] = [
  ...['5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'envoy-ratelimited'],
  ...['retriable-4xx', 'refused-stream', 'retriable-status-codes', 'retriable-headers', 'http3-post-connect-failure'],
  ...grpcRetryConditions,
]

export const retryOn: Type = {
  accepts: `a comma-separated list of ${retryConditions.join(', ')}`,
  parse: text => {
    const conditions = text.split(',').map(condition => condition.trim())
    const isKnown = conditions.every(condition => retryConditions.includes(condition))
    return isKnown ? accepted([...new Set(conditions)].join(',')) : refused
  },
  format: String,
}
