/**
 * The settings of a Service port: what each means, its default and the values it takes. Users set them with annotations
 * `config.lightpath.cloud/<port>-<setting>` (see annotations.ts); docs/settings.md is made from this table.
 */

import { formatDuration, parseDuration } from './duration.ts'

export const lbPolicies = ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM', 'RING_HASH', 'MAGLEV'] as const
export type LbPolicy = (typeof lbPolicies)[number]

/** Durations are in milliseconds; where 0 is allowed it means "no such limit" (`none`). */
export interface Settings {
  /** undefined: by protocol (http yes, tcp no). */
  readonly overlay: boolean | undefined
  /** Whether what comes from outside goes through Envoy, too. */
  readonly external: boolean
  /** undefined: by protocol (http 300s, tcp none). */
  readonly idleTimeout: number | undefined
  readonly upstreamIdleTimeout: number
  readonly requestTimeout: number
  readonly upstreamRequestTimeout: number
  readonly upstreamConnectTimeout: number
  readonly accessLog: 'true' | 'false' | 'errors'
  readonly lbPolicy: LbPolicy
  readonly retryEnabled: boolean
  readonly numRetries: number
  readonly retryOn: string
  readonly retryNonIdempotent: boolean
  readonly circuitBreakerDefaultMaxConnections: number
  readonly circuitBreakerDefaultMaxPendingRequests: number
  readonly circuitBreakerDefaultMaxRequests: number
  /** undefined: the retry budget (20 % of recent requests, at least 3). */
  readonly circuitBreakerDefaultMaxRetries: number | undefined
  readonly circuitBreakerHighMaxConnections: number
  readonly circuitBreakerHighMaxPendingRequests: number
  readonly circuitBreakerHighMaxRequests: number
  readonly circuitBreakerHighMaxRetries: number | undefined
  readonly trackRemaining: boolean
  readonly outlierDetectionInterval: number
  readonly outlierDetectionBaseEjectionTime: number
  readonly outlierDetectionMaxEjectionTime: number
  readonly outlierDetectionMaxEjectionPercent: number
  readonly outlierDetectionConsecutive5xx: number
  readonly outlierDetectionConsecutiveGatewayFailure: number
}

type Value = string | number | boolean | undefined

/** What one setting is: its key in `Settings`, its words for users, and how its text becomes a value. */
export interface SettingDefinition {
  /** As in the annotation, such as `idle-timeout`. */
  readonly name: string
  readonly key: keyof Settings
  readonly default: Value
  /** The default as a user would write it. */
  readonly defaultText: string
  /** The same for one protocol, where it differs between them. */
  readonly defaultOf?: Readonly<Record<'http' | 'tcp', string>>
  /** What values it takes, for error messages and documentation. */
  readonly accepts: string
  readonly description: string
  readonly protocols: readonly ('http' | 'tcp')[]
  /** `ok: false` means that the text is none of what `accepts` says. */
  readonly parse: (text: string) => { readonly ok: true; readonly value: Value } | { readonly ok: false }
}

type Parse = SettingDefinition['parse']
interface Type {
  readonly accepts: string
  readonly parse: Parse
  readonly format: (value: Value) => string
}

const refused = { ok: false } as const
const accepted = (value: Value) => ({ ok: true, value }) as const

const dayMs = 24 * 3600e3
const maxDurationMs = 365 * dayMs

const duration: Type = {
  accepts: 'a duration such as 5s, 1m30s or 500ms, from 1ms to 8760h',
  parse: text => {
    const ms = parseDuration(text)
    return ms !== undefined && ms >= 1 && ms <= maxDurationMs ? accepted(ms) : refused
  },
  format: value => formatDuration(value as number),
}

const optionalDuration: Type = {
  accepts: `${duration.accepts}, or none`,
  parse: text => (text === 'none' || parseDuration(text) === 0 ? accepted(0) : duration.parse(text)),
  format: value => (value === 0 ? 'none' : duration.format(value)),
}

const boolean: Type = {
  accepts: 'true or false',
  parse: text => (text === 'true' || text === 'false' ? accepted(text === 'true') : refused),
  format: String,
}

function oneOf(values: readonly string[]): Type {
  return {
    accepts: `one of ${values.join(', ')}`,
    parse: text => (values.includes(text) ? accepted(text) : refused),
    format: String,
  }
}

function integer(min: number, max: number): Type {
  return {
    accepts: `a whole number from ${min} to ${max}`,
    parse: text => {
      const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
      return value >= min && value <= max ? accepted(value) : refused
    },
    format: String,
  }
}

/** https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#x-envoy-retry-on, and its gRPC list. */
const retryConditions: readonly string[] = [
  ...['5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'envoy-ratelimited'],
  ...['retriable-4xx', 'refused-stream', 'retriable-status-codes', 'retriable-headers', 'http3-post-connect-failure'],
  ...['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'],
]

const retryOn: Type = {
  accepts: `a comma-separated list of ${retryConditions.join(', ')}`,
  parse: text => {
    const conditions = text.split(',').map(condition => condition.trim())
    return conditions.every(condition => retryConditions.includes(condition)) ? accepted(conditions.join(',')) : refused
  },
  format: String,
}

const maxUint32 = 4294967295
const http = ['http'] as const
const both = ['http', 'tcp'] as const

function define(
  name: string,
  type: Type,
  defaultValue: Value,
  protocols: SettingDefinition['protocols'],
  description: string,
  given?: string | Readonly<Record<'http' | 'tcp', string>>,
): SettingDefinition {
  const key = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof Settings
  return {
    name,
    key,
    default: defaultValue,
    defaultText: defaultTextOf(type, defaultValue, given),
    defaultOf: typeof given === 'object' ? given : undefined,
    accepts: type.accepts,
    description,
    protocols,
    parse: type.parse,
  }
}

function defaultTextOf(type: Type, value: Value, given: Parameters<typeof define>[5]): string {
  if (given === undefined) return type.format(value)
  return typeof given === 'string' ? given : `http: ${given.http}, tcp: ${given.tcp}`
}

const budget = 'retry budget'

function circuitBreakers(priority: 'default' | 'high'): SettingDefinition[] {
  const name = (what: string) => `circuit-breaker-${priority}-max-${what}`
  const count = integer(1, maxUint32)
  const counted = priority === 'default' ? 'of the last ten seconds' : 'in flight'
  const retries = `Retries in flight, to all endpoints; without a number 20 % of the requests ${counted}, at least 3`
  return [
    define(name('connections'), count, 1e9, both, `Connections to all endpoints (${priority} priority).`),
    define(name('pending-requests'), count, 1e9, both, `Requests that wait for a connection (${priority} priority).`),
    define(name('requests'), count, 1e9, http, `Requests in flight to all endpoints (${priority} priority).`),
    define(name('retries'), integer(0, maxUint32), undefined, http, `${retries} (${priority} priority).`, budget),
  ]
}

export const settingDefinitions: readonly SettingDefinition[] = [
  define('overlay', boolean, undefined, both, 'Whether Envoy balances this port. Without it the kernel layer does.', {
    http: 'true',
    tcp: 'false',
  }),
  define(
    'external',
    boolean,
    false,
    http,
    'Whether Envoy balances also what comes from outside, by node port (30000 to 32767), external and load-balancer IPs.',
  ),
  define(
    'idle-timeout',
    optionalDuration,
    undefined,
    both,
    'A client connection without requests (http) or bytes (tcp) is closed after this time. Never within a request or stream.',
    { http: '300s', tcp: 'none' },
  ),
  define(
    'upstream-idle-timeout',
    optionalDuration,
    15e3,
    http,
    'A connection to an endpoint without requests is closed after this time.',
  ),
  define('request-timeout', optionalDuration, 0, http, 'The whole request, all tries together, answer included.'),
  define('upstream-request-timeout', optionalDuration, 0, http, 'One try.'),
  define('upstream-connect-timeout', duration, 5e3, both, 'Connecting to an endpoint.'),
  define(
    'access-log',
    oneOf(['true', 'false', 'errors']),
    'errors',
    both,
    'Which requests Envoy logs: all, none, or those that failed (5xx, resets).',
  ),
  define('lb-policy', oneOf(lbPolicies), 'LEAST_REQUEST', both, 'How Envoy chooses an endpoint.'),
  define('retry-enabled', boolean, true, http, 'Whether failed requests are tried again at another endpoint.'),
  define('num-retries', integer(0, 100), 2, http, 'How many times a request is tried again.'),
  define(
    'retry-on',
    retryOn,
    '5xx,reset,retriable-headers',
    http,
    'When a request is tried again. POST and PATCH are only where they cannot have reached the application.',
  ),
  define('retry-non-idempotent', boolean, false, http, 'Whether retry-on holds for POST and PATCH too.'),
  ...circuitBreakers('default'),
  ...circuitBreakers('high'),
  define('track-remaining', boolean, false, both, 'Whether Envoy publishes how much of each circuit breaker is left.'),
  define('outlier-detection-interval', duration, 10e3, both, 'How often endpoints are looked at for ejection.'),
  define(
    'outlier-detection-base-ejection-time',
    duration,
    30e3,
    both,
    'How long an endpoint stays ejected, times the number of its ejections.',
  ),
  define('outlier-detection-max-ejection-time', duration, 300e3, both, 'The longest that an endpoint stays ejected.'),
  define(
    'outlier-detection-max-ejection-percent',
    integer(0, 100),
    10,
    both,
    'How much of a Service may be ejected at a time; one endpoint always may where there are two or more.',
  ),
  define(
    'outlier-detection-consecutive-5xx',
    integer(0, maxUint32),
    5,
    both,
    'Errors in a row that eject an endpoint; 0 never does.',
  ),
  define(
    'outlier-detection-consecutive-gateway-failure',
    integer(0, maxUint32),
    5,
    both,
    'Gateway errors (502, 503, 504) in a row that eject an endpoint; 0 never does.',
  ),
]

/** Shared by every Service port without annotations, so that 10,000 of them cost one object. */
export const defaultSettings: Settings = Object.freeze(
  Object.fromEntries(settingDefinitions.map(definition => [definition.key, definition.default])),
) as unknown as Settings
