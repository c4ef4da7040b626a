/** Bodies of requests, in all framings. */

import { answering, answersOk, head, type Input, message, ok, request, until } from '../input.ts'

const post = (headers: readonly string[], body = '') => message('POST / HTTP/1.1', ['Host: a', ...headers], body)
const chunkedHead = post(['Transfer-Encoding: chunked'])
const sends = (name: string, ...client: Input['client']): Input => ({ name, client, server: answersOk })

export const bodies: readonly Input[] = [
  sends('a body of no length', post(['Content-Length: 0'])),
  sends('a body of a length', post(['Content-Length: 5'], 'hello')),
  sends('a body of 1 MB', post(['Content-Length: 1000000'], 'x'.repeat(1_000_000))),
  sends('a body that comes byte by byte', post(['Content-Length: 5']), 20, 'h', 20, 'e', 20, 'l', 20, 'l', 20, 'o'),
  sends('a body with zero bytes', post(['Content-Length: 4'], '\0\x01\xff\xfe')),
  sends('a POST that tells no length', post([])),
  sends('a chunked body', chunkedHead, '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n'),
  sends('a chunked body of one write', `${chunkedHead}5\r\nhello\r\n0\r\n\r\n`),
  sends('an empty chunked body', `${chunkedHead}0\r\n\r\n`),
  sends('a chunked body with pauses', chunkedHead, 100, '5\r\nhel', 100, 'lo\r\n', 100, '0\r\n', 100, '\r\n'),
  sends('chunks with extensions', chunkedHead, '5;a=b\r\nhello\r\n0\r\n\r\n'),
  sends('chunks with sizes in capitals and zeros', chunkedHead, '00A\r\n0123456789\r\n0\r\n\r\n'),
  sends('a chunked body with trailers', chunkedHead, '5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n'),
  sends('a chunked body of 1 MB', chunkedHead, `F4240\r\n${'x'.repeat(1_000_000)}\r\n0\r\n\r\n`),
  sends('Chunked in capitals', post(['Transfer-Encoding: Chunked']), '5\r\nhello\r\n0\r\n\r\n'),
  sends(
    'a length beside chunked',
    post(['Content-Length: 5', 'Transfer-Encoding: chunked']),
    '5\r\nhello\r\n0\r\n\r\n',
  ),
  sends('two equal lengths', post(['Content-Length: 5', 'Content-Length: 5'], 'hello')),
  sends('a length that is no number', post(['Content-Length: five'], 'hello')),
  sends('a negative length', post(['Content-Length: -1'])),
  sends('a length with a plus', post(['Content-Length: +5'], 'hello')),
  sends('chunked twice', post(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked']), '5\r\nhello\r\n0\r\n\r\n'),
  sends('gzip, chunked', post(['Transfer-Encoding: gzip, chunked']), '5\r\nhello\r\n0\r\n\r\n'),
  sends('a chunk size that is no number', chunkedHead, 'z\r\nhello\r\n0\r\n\r\n'),
  {
    name: '100-continue that the endpoint grants',
    client: [post(['Content-Length: 5', 'Expect: 100-continue']), until('100 Continue\r\n\r\n'), 'hello'],
    server: [head, 'HTTP/1.1 100 Continue\r\n\r\n', { do: 'bytes', count: 5 }, ok],
  },
  {
    name: '100-continue that the endpoint refuses',
    client: [post(['Content-Length: 5', 'Expect: 100-continue']), until('417')],
    server: [
      head,
      message('HTTP/1.1 417 Expectation Failed', ['Content-Length: 0', 'Connection: close']),
      { do: 'fin' },
    ],
  },
  {
    name: '100-continue that the client does not wait for',
    client: [post(['Content-Length: 5', 'Expect: 100-continue'], 'hello')],
    server: answersOk,
  },
  {
    name: 'an answer before the body is there',
    client: [post(['Content-Length: 5']), until('ok'), 'hello'],
    server: [head, ok, { do: 'bytes', count: 5 }],
  },
  {
    name: 'an answer that refuses a body which is never sent',
    client: [post(['Content-Length: 500000'])],
    server: [head, message('HTTP/1.1 413 Too Large', ['Content-Length: 0', 'Connection: close']), { do: 'fin' }],
  },
  {
    name: 'an answer in the midst of a body, both go on',
    client: [chunkedHead, '2\r\nhe\r\n', until('begun'), '3\r\nllo\r\n0\r\n\r\n'],
    server: [
      head,
      message('HTTP/1.1 200 OK', ['Transfer-Encoding: chunked'], '5\r\nbegun\r\n'),
      { do: 'bytes', count: 20 },
      '3\r\nend\r\n0\r\n\r\n',
    ],
  },
  {
    name: 'a body with a GET',
    client: [message('GET / HTTP/1.1', ['Host: a', 'Content-Length: 2'], 'hi')],
    server: answersOk,
  },
  {
    name: 'a body of a GET in chunks',
    client: [message('GET / HTTP/1.1', ['Host: a', 'Transfer-Encoding: chunked'], '2\r\nhi\r\n0\r\n\r\n')],
    server: answersOk,
  },
  {
    name: 'a body of HTTP/1.0',
    client: [message('POST / HTTP/1.0', ['Host: a', 'Content-Length: 2'], 'hi')],
    server: answering(message('HTTP/1.0 200 OK', ['Content-Length: 2'], 'ok')),
  },
  {
    name: 'a body of which the server reads half and answers',
    client: [post(['Content-Length: 10'], 'hello'), until('ok'), 'world', 100],
    server: [head, { do: 'bytes', count: 5 }, ok, { do: 'bytes', count: 5 }],
  },
  {
    name: 'a request answered after 1 s',
    client: [post(['Content-Length: 2'], 'hi'), until('ok')],
    server: [request, 1000, ok],
  },
]
