/** Headers and bodies of answers, in all framings, those that are against the rules, too. */

import { answering, fin, get, type Input, message, request, reset } from '../input.ts'

const answer = (name: string, headers: readonly string[], body = '', ...more: Input['server']): Input => ({
  name,
  client: [get()],
  server: [request, message('HTTP/1.1 200 OK', headers, body), ...more],
})
const length = 'Content-Length: 2'
const lines = [
  ...[
    'Set-Cookie: a=b',
    'X-Mixed-cAsE: a',
    'x_under_score: a',
    'X-Empty:',
    'X-Latin: caf\u00e9',
    'Content-Type: text/event-stream',
    'Content-Encoding: gzip',
    'ETag: W/"a"',
  ],
  ...[
    'Date: Sat, 01 Jan 2022 00:00:00 GMT',
    'Server: a',
    'Via: 1.1 b',
    'Vary: *',
    'Strict-Transport-Security: max-age=1',
    'Trailer: X-A',
    'Alt-Svc: h2=":443"',
    'Age: 3',
  ],
  ...[
    'X-Envoy-Upstream-Service-Time: 86400000',
    'X-Envoy-Overloaded: true',
    'X-Envoy-Ratelimited: true',
    'X-Envoy-Degraded: true',
    'X-Envoy-Upstream-Healthchecked-Cluster: a',
  ],
  ...[
    'X-Envoy-Immediate-Health-Check-Fail: true',
    'X-Request-Id: a',
    'X-Forwarded-Proto: https',
    'Upgrade: h2c',
    'Proxy-Authenticate: Basic',
    'Connection: X-A',
    'Keep-Alive: timeout=5',
  ],
]

export const answers: readonly Input[] = [
  ...lines.map(line => answer(`an answer with ${line}`, [length, line], 'ok')),
  answer('an answer with Set-Cookie twice', [length, 'Set-Cookie: a=b', 'Set-Cookie: c=d'], 'ok'),
  answer('an answer with 300 headers', [length, ...Array.from({ length: 300 }, (_, i) => `X-${i}: ${i}`)], 'ok'),
  answer('an answer with a header of 100 kB', [length, `X-Long: ${'a'.repeat(100_000)}`], 'ok'),
  answer('an answer in chunks', ['Transfer-Encoding: chunked'], '2\r\nok\r\n0\r\n\r\n'),
  answer(
    'an answer in chunks with pauses',
    ['Transfer-Encoding: chunked'],
    '2\r\nok\r\n',
    300,
    '1\r\n!\r\n',
    300,
    '0\r\n\r\n',
  ),
  answer('an answer in chunks with trailers', ['Transfer-Encoding: chunked'], '2\r\nok\r\n0\r\nX-T: a\r\n\r\n'),
  answer('an answer of no length', ['Content-Length: 0']),
  answer('an answer of 1 MB', ['Content-Length: 1000000'], 'x'.repeat(1_000_000)),
  answer('an answer that ends with its connection', ['Connection: close'], 'ok', fin),
  answer('an answer that ends with its connection, in two writes', [], 'ok', 300, 'more', fin),
  answer('an answer with Connection: close and a length', [length, 'Connection: close'], 'ok', fin),
  answer('an answer with a length, and the connection ends', [length], 'ok', fin),
  answer('an answer with a length that the server stops in the middle', ['Content-Length: 10'], 'ok', fin),
  answer('an answer with a length that a reset stops in the middle', ['Content-Length: 10'], 'ok', 200, reset),
  answer('an answer in chunks that stops in the middle', ['Transfer-Encoding: chunked'], '2\r\nok\r\n', fin),
  answer(
    'an answer in chunks that a reset stops in the middle',
    ['Transfer-Encoding: chunked'],
    '2\r\nok\r\n',
    200,
    reset,
  ),
  answer('an answer without length that a reset stops', [], 'ok', 200, reset),
  answer(
    'an answer with chunked twice',
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    '2\r\nok\r\n0\r\n\r\n',
  ),
  answer('an answer with Chunked in capitals', ['Transfer-Encoding: Chunked'], '2\r\nok\r\n0\r\n\r\n'),
  answer('an answer with a length beside chunked', [length, 'Transfer-Encoding: chunked'], '2\r\nok\r\n0\r\n\r\n'),
  answer('an answer with two equal lengths', [length, length], 'ok'),
  answer('an answer with two lengths that differ', [length, 'Content-Length: 3'], 'ok!', fin),
  answer('an answer with identity as transfer encoding', ['Transfer-Encoding: identity', length], 'ok', fin),
  answer('an answer with a header name with a space', [length, 'X A: b'], 'ok'),
  answer('an answer with a header name with a slash', [length, 'X/A: b'], 'ok'),
  answer('an answer with a header without a colon', [length, 'X-A'], 'ok'),
  answer('an answer with a header line that goes on', [length, 'X-A: b', ' c'], 'ok'),
  answer('an answer with more bytes than the length', [length], 'ok and more'),
  { name: 'an answer with bare LF', client: [get()], server: answering('HTTP/1.1 200 OK\nContent-Length: 2\n\nok') },
  {
    name: 'an answer of 204 with a body',
    client: [get()],
    server: answering(message('HTTP/1.1 204 No Content', [length], 'ok')),
  },
  {
    name: 'an answer of 204 with chunks',
    client: [get()],
    server: answering(message('HTTP/1.1 204 No Content', ['Transfer-Encoding: chunked'], '0\r\n\r\n')),
  },
  {
    name: 'an answer of 204 with a length of 0',
    client: [get()],
    server: answering(message('HTTP/1.1 204 No Content', ['Content-Length: 0'])),
  },
  {
    name: 'an answer of 304 with a length',
    client: [get()],
    server: answering(message('HTTP/1.1 304 Not Modified', ['Content-Length: 50'])),
  },
  {
    name: 'an interim answer of 103',
    client: [get()],
    server: answering(
      `${message('HTTP/1.1 103 Early Hints', ['Link: a'])}${message('HTTP/1.1 200 OK', [length], 'ok')}`,
    ),
  },
  {
    name: 'two interim answers',
    client: [get()],
    server: answering(
      `${message('HTTP/1.1 102 Processing')}${message('HTTP/1.1 103 Early Hints', ['Link: a'])}${message('HTTP/1.1 200 OK', [length], 'ok')}`,
    ),
  },
  { name: 'an answer that is no HTTP', client: [get()], server: [request, 'hello\r\n', fin] },
  {
    name: 'an answer in two writes within its head',
    client: [get()],
    server: [request, 'HTTP/1.1 200 O', 100, 'K\r\nContent-Le', 100, 'ngth: 2\r\n\r\no', 100, 'k'],
  },
]
