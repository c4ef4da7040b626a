/** Every method reaches the endpoint once, with its answer. */

import { answersOk, head, type Input, message, request } from '../input.ts'

const withoutBody = [
  'GET',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'PURGE',
  'LIST',
  'MKCOL',
  'LOCK',
  'SEARCH',
  'REPORT',
  'X',
]
const withBody = ['POST', 'PUT', 'PATCH', 'GET', 'DELETE', 'QUERY', 'PROPPATCH', 'NOTIFY', 'M-SEARCH']

export const methods: readonly Input[] = [
  ...withoutBody.map(method => ({
    name: `${method} without a body`,
    client: [message(`${method} /a HTTP/1.1`, ['Host: a'])],
    server: answersOk,
  })),
  ...withBody.map(method => ({
    name: `${method} with a body`,
    client: [message(`${method} /a HTTP/1.1`, ['Host: a', 'Content-Length: 5'], 'hello')],
    server: answersOk,
  })),
  {
    name: 'HEAD, whose answer tells a length without a body',
    client: [message('HEAD /a HTTP/1.1', ['Host: a'])],
    server: [request, message('HTTP/1.1 200 OK', ['Content-Length: 500', 'X-A: b'])],
  },
  {
    name: 'HEAD, whose answer tells no length',
    client: [message('HEAD /a HTTP/1.1', ['Host: a'])],
    server: [request, message('HTTP/1.1 200 OK', ['X-A: b'])],
  },
  {
    name: 'CONNECT that the endpoint refuses',
    client: [message('CONNECT b:443 HTTP/1.1', ['Host: b:443'])],
    server: [head, message('HTTP/1.1 405 No', ['Content-Length: 2'], 'no')],
  },
  {
    name: 'CONNECT that the endpoint takes, and bytes in the tunnel',
    client: [message('CONNECT b:443 HTTP/1.1', ['Host: b:443']), { do: 'until', text: '\r\n\r\n' }, 'ping'],
    server: [head, message('HTTP/1.1 200 OK'), { do: 'bytes', count: 4 }, 'pong', { do: 'bytes', count: 1000 }],
  },
]
