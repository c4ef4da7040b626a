/** A request's headers reach the endpoint as they came: names, case, values, repetitions, those of proxies before. */

import { answersOk, get, type Input, message } from '../input.ts'

const of = (...lines: readonly string[]): Input => ({
  name: `a request with ${lines.map(line => (line.length < 60 ? line : `${line.slice(0, 40)}…`)).join(', ')}`,
  client: [get(...lines)],
  server: answersOk,
})

const plain = [
  ...[
    'Accept: */*',
    'accept: text/html',
    'ACCEPT-LANGUAGE: de',
    'X-Mixed-cAsE: a',
    'x_under_score: a',
    'X.Dot: a',
    'X-1: 2',
  ],
  ...[
    'X-Empty:',
    'X-No-Space:a',
    'X-Spaces:    a   ',
    'X-Tab:\ta',
    'X-Inner: a  b\tc',
    'X-Latin: caf\u00e9',
    'X-Quote: "a, b"',
    'X-Colon: a:b:c',
  ],
  ...[
    'Cookie: a=b; c=d',
    'Authorization: Basic YTpi',
    'Authorization: Bearer a.b.c',
    'Authorization: Negotiate abc=',
    'Range: bytes=0-9',
  ],
  ...[
    'If-None-Match: "a"',
    'If-Match: *',
    'If-Modified-Since: Sat, 01 Jan 2022 00:00:00 GMT',
    'Origin: http://b',
    'Referer: http://b/c',
  ],
  ...[
    'User-Agent: a/1 (b; c)',
    'User-Agent:',
    'Content-Type: application/json',
    'Accept-Encoding: gzip, br',
    'DNT: 1',
    'Via: 1.1 b',
    'Max-Forwards: 3',
  ],
  ...[
    'Date: Sat, 01 Jan 2022 00:00:00 GMT',
    'Server: a',
    'Pragma: no-cache',
    'Cache-Control: no-store',
    'TE: gzip',
    'Early-Data: 1',
    'Priority: u=1',
  ],
]

/** What gateways and proxies before us tell. */
const ofProxies = [
  ...[
    'X-Forwarded-For: 192.0.2.1',
    'X-Forwarded-For: 192.0.2.1, 198.51.100.2',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Proto: http',
  ],
  ...[
    'X-Forwarded-Host: b',
    'X-Forwarded-Port: 8443',
    'X-Forwarded-Prefix: /c',
    'X-Real-IP: 192.0.2.1',
    'Forwarded: for=192.0.2.1;proto=https',
  ],
  ...['X-Forwarded-Client-Cert: By=a;Hash=b', 'X-Request-Id: mine', 'X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7'],
  ...[
    'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    'X-Scheme: https',
    'X-Original-URI: /d',
    'CF-Connecting-IP: 192.0.2.1',
  ],
  ...[
    'X-Envoy-External-Address: 192.0.2.1',
    'X-Envoy-Internal: true',
    'X-Envoy-Original-Path: /c',
    'X-Envoy-Original-Host: c',
    'X-Envoy-Decorator-Operation: a',
  ],
  ...[
    'X-Envoy-Peer-Metadata: a',
    'X-Envoy-Downstream-Service-Cluster: a',
    'X-Envoy-Retry-On: 5xx',
    'X-Envoy-Max-Retries: 3',
    'X-Envoy-Force-Trace: 1',
  ],
  ...[
    'X-Envoy-Upstream-Rq-Timeout-Ms: 15000',
    'X-Envoy-Expected-Rq-Timeout-Ms: 15000',
    'X-Envoy-Attempt-Count: 1',
    'X-Client-Trace-Id: a',
    'X-Ot-Span-Context: a',
  ],
]

const repeated = [
  ['X-A: 1', 'X-A: 2'],
  ['X-A: 1', 'X-B: 2', 'X-A: 3'],
  ['Cookie: a=b', 'Cookie: c=d'],
  ['Accept: a/b', 'Accept: c/d'],
  ['X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 192.0.2.2'],
]

export const headers: readonly Input[] = [
  ...plain.map(line => of(line)),
  ...ofProxies.map(line => of(line)),
  ...repeated.map(lines => of(...lines)),
  { ...of(...Array.from({ length: 300 }, (_, i) => `X-${i}: ${i}`)), name: 'a request with 300 headers' },
  { ...of(`X-Long: ${'a'.repeat(100_000)}`), name: 'a request with a header of 100 kB' },
  { name: 'a Host with a port', client: [message('GET / HTTP/1.1', ['Host: a:8080'])], server: answersOk },
  { name: 'a Host in capitals', client: [message('GET / HTTP/1.1', ['host: A.Example'])], server: answersOk },
  { name: 'an empty Host', client: [message('GET / HTTP/1.1', ['Host:'])], server: answersOk },
  { name: 'no Host', client: [message('GET / HTTP/1.1')], server: answersOk },
  { name: 'two equal Hosts', client: [get('Host: a')], server: answersOk },
  { name: 'two Hosts that differ', client: [get('Host: b')], server: answersOk },
  { name: 'a header line that goes on', client: [get('X-A: b', ' c')], server: answersOk },
  { name: 'a header without a colon', client: [get('X-A')], server: answersOk },
  { name: 'a header with a space before its colon', client: [get('X-A : b')], server: answersOk },
]
