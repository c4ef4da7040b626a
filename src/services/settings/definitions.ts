/**
 * Defines the settings of a Service port: what each means, its default and the values it takes. Users set them with
 * annotations `config.lightpath.cloud/<port>-<setting>` (see annotations.ts); docs/settings.md is made from this table.
 *
 * Whoever may write a Service sets them for an Envoy that all Services of the node share, so ranges end where others
 * would pay. A setting that costs nobody else anything (a time-out of one's own requests, a detection that never
 * ejects) has the range that Envoy takes.
 */
import { define, type SettingDefinition } from './definition.ts'
import { envoyProtocols, requestProtocols } from './envoyprotocol.ts'
import { lbPolicies, type Settings } from './settings.ts'
import { boolean, duration, integer, oneOf, optionalDuration, retryOn } from './values.ts'

/** More than any: what Envoy keeps count of in 32 bits. */
const unlimited = 1e9
/** As long as nobody lives. */
const aYear = '8760h'

/** Of a node, milliseconds. */
export const defaultFirstBytesTimeout = 1000

const http = requestProtocols
const all = envoyProtocols
const budget = 'retry budget'
const byRules = 'by appProtocol and port name'

function circuitBreakers(priority: 'default' | 'high'): SettingDefinition[] {
  const name = (what: string) => `circuit-breaker-${priority}-max-${what}`
  const count = integer(1, unlimited)
  const counted = priority === 'default' ? 'of the last ten seconds' : 'in flight'
  const retries = `Retries in flight, to all endpoints; without a number 20 % of the requests ${counted}, at least 100`
  return [
    define(name('connections'), count, unlimited, all, `Connections to all endpoints (${priority} priority).`),
    define(
      name('pending-requests'),
      count,
      unlimited,
      all,
      `Requests that wait for a connection (${priority} priority).`,
    ),
    define(name('requests'), count, unlimited, http, `Requests in flight to all endpoints (${priority} priority).`),
    // Each in flight may hold 1 MiB of its request in Envoy.
    define(name('retries'), integer(0, 256), undefined, http, `${retries} (${priority} priority).`, budget),
  ]
}

export const settingDefinitions: readonly SettingDefinition[] = [
  define(
    'protocol',
    oneOf(envoyProtocols),
    undefined,
    all,
    'What the port speaks, whatever appProtocol and its name say; Envoy balances it.',
    byRules,
  ),
  define(
    'overlay',
    oneOf(['true', 'false', 'always']),
    undefined,
    all,
    'Whether Envoy balances this port. Without it the kernel layer does. With always, Envoy has it on all nodes, whoever calls it there (--envoy-ports), for 100 ports of a namespace, and of all for half of those that fit.',
    byRules,
  ),
  define(
    'rebalance',
    boolean,
    false,
    all,
    'Whether connections that began in the kernel layer end when the port comes to Envoy, once: clients connect again, through Envoy. Requests that are under way there fail.',
  ),
  define(
    'external',
    boolean,
    false,
    http,
    'Whether Envoy balances also what comes from outside, by node port (30000 to 32767), external and load-balancer IPs.',
  ),
  define(
    'idle-timeout',
    // A request with a connection of its own costs Envoy half as much again.
    optionalDuration('1s', aYear),
    undefined,
    all,
    'A client connection without requests (http, grpc) or bytes (redis, tcp) is closed after this time. Never within a request or stream.',
    { http: '300s', grpc: '300s', redis: 'none', tcp: 'none' },
  ),
  // Whoever is silent for so long waits in Envoy, and beyond 15 s clients give up.
  define(
    'first-bytes-timeout',
    duration('100ms', '15s'),
    undefined,
    http,
    'A new connection on which its client has sent nothing for so long goes on as TCP, to one endpoint: its server may speak first.',
    'as --first-bytes-timeout says (1s)',
  ),
  define(
    'upstream-idle-timeout',
    optionalDuration('1s', aYear),
    1e3,
    http,
    'A connection to an endpoint without requests is closed after this time.',
  ),
  define(
    'request-timeout',
    optionalDuration('1ms', aYear),
    0,
    http,
    'The whole request, all tries together, answer included.',
  ),
  define('upstream-request-timeout', optionalDuration('1ms', aYear), 0, http, 'One try.'),
  // Linux gives up after two minutes. Within a cluster an endpoint that is there answers in milliseconds.
  define(
    'upstream-connect-timeout',
    duration('10ms', '2m'),
    500,
    all,
    'Connecting to an endpoint, once; then the next is tried, which may be the same.',
  ),
  define(
    'access-log',
    oneOf(['true', 'false', 'errors']),
    'errors',
    all,
    'Which requests Envoy logs: all, none, or those that failed (5xx, resets).',
  ),
  // MAGLEV takes 38 kB of a port and 1.8 ms of Envoy's main thread at each change of endpoints, RING_HASH 29 kB and 0.1
  // ms.
  define(
    'lb-policy',
    oneOf(lbPolicies),
    undefined,
    all,
    'How Envoy chooses an endpoint. With PEAK_EWMA it is by how long each takes to answer, times the requests that it has; redis and tcp have LEAST_REQUEST then, as has a node whose Envoy lacks the module.',
    'as --lb-policy says (LEAST_REQUEST)',
  ),
  define(
    'slow-start',
    optionalDuration('1s', '1h'),
    0,
    all,
    'How long a new endpoint gets less than its share, at first a tenth. With LEAST_REQUEST, PEAK_EWMA and ROUND_ROBIN.',
  ),
  define(
    'spill-over',
    boolean,
    false,
    http,
    'Whether Envoy has the endpoints, too, that topology hints or trafficDistribution leave to other zones or nodes, and asks them as far as those of its own are slow or ejected: with PEAK_EWMA where they answer twice as fast, with the other policies as more than a quarter of its own are ejected.',
  ),
  define('retry-enabled', boolean, true, http, 'Whether failed requests are tried again at another endpoint.'),
  // One request of a client becomes so many more of Envoy's.
  define(
    'num-retries',
    integer(0, 10),
    2,
    http,
    'How many times a request is tried again, each time at another endpoint. One that cannot have reached the application is tried eight times or more, unless this is 0.',
  ),
  define(
    'retry-on',
    retryOn,
    '5xx,reset,retriable-headers',
    http,
    'When a request is tried again, at an endpoint that has not had it. Beside GET, HEAD and OPTIONS without a condition all are only where they cannot have reached the application; gRPC calls also where the answer begins with a status that stands here.',
  ),
  define(
    'retry-idempotent',
    boolean,
    false,
    http,
    'Whether retry-on holds for PUT, DELETE and TRACE too, and for requests with a condition.',
  ),
  define('retry-non-idempotent', boolean, false, http, 'Whether retry-on holds for all methods.'),
  define(
    'reuse-connections',
    oneOf(['safe', 'always', 'never']),
    'safe',
    http,
    'Which requests take a connection to an endpoint that is open already: safe is those that retry-on holds for (where there is one endpoint, those of the same client connection, and none for an hour once the access log has one whose connection the endpoint ended) and, where endpoints are found to let idle connections live, all of clients that keep their connections; always is all, never is none. HTTP/2 always does.',
  ),
  define(
    'forwarded-headers',
    oneOf(['auto', 'add', 'none']),
    'auto',
    http,
    "Whether the client's address is appended to X-Forwarded-For, and X-Forwarded-Proto set where there is none: auto does where the endpoint does not see the client's address.",
  ),
  define(
    'half-close',
    oneOf(['auto', 'true', 'false']),
    'auto',
    http,
    'Whether clients may end their side of a connection (FIN) with or right behind a request and still get the answer, as `nc -N` does. auto is while not ten seconds pass without a byte of it, where Envoy has its module; true is for however long, and leaves the port in the kernel layer where Envoy has no module; false ends the request, and its endpoint hears at once of a client that has gone.',
  ),
  ...circuitBreakers('default'),
  ...circuitBreakers('high'),
  define('track-remaining', boolean, false, all, 'Whether Envoy publishes how much of each circuit breaker is left.'),
  // At 1ms the detection of one Service with 1,000 endpoints takes a twentieth of a core, at 1s nothing that could be
  // measured.
  define(
    'outlier-detection-interval',
    duration('1s', '1h'),
    10e3,
    all,
    'How often endpoints are looked at for ejection.',
  ),
  define(
    'outlier-detection-base-ejection-time',
    duration('1s', '24h'),
    30e3,
    all,
    'How long an endpoint stays ejected, times the number of its ejections.',
  ),
  define(
    'outlier-detection-max-ejection-time',
    duration('1s', '24h'),
    300e3,
    all,
    'The longest that an endpoint stays ejected.',
  ),
  define(
    'outlier-detection-max-ejection-percent',
    integer(0, 100),
    10,
    all,
    'How much of a Service may be ejected at a time; one endpoint always may where there are two or more. With PEAK_EWMA it is half.',
  ),
  define(
    'outlier-detection-consecutive-5xx',
    integer(0, unlimited),
    30,
    all,
    'Errors (5xx) in a row that eject an endpoint; 0 never does. Few in a row may be one client’s bad requests.',
  ),
  define(
    'outlier-detection-consecutive-gateway-failure',
    integer(0, unlimited),
    5,
    all,
    'Gateway errors (502, 503, 504) in a row that eject an endpoint; 0 never does.',
  ),
  define(
    'outlier-detection-failure-percentage',
    integer(0, 100),
    25,
    http,
    'An endpoint is ejected when at least this share of its requests fails (5xx), four times as much as of the others’, and too often for chance; 0 never does. Not where lb-policy hashes clients, nor where access-log is false.',
  ),
  define(
    'outlier-detection-slowness',
    integer(0, 1000),
    0,
    http,
    'An endpoint is ejected when its answers take this many times as long as those of the others (their median), and 10 ms longer, for three seconds; 0 never does. Where Envoy has the module; not where lb-policy hashes clients or is PEAK_EWMA, by which it gets little anyway.',
  ),
]

/** Shared by every Service port without annotations, so that 10,000 of them cost one object. */
export const defaultSettings: Settings = Object.freeze(
  Object.fromEntries(settingDefinitions.map(definition => [definition.key, definition.default])),
) as unknown as Settings
