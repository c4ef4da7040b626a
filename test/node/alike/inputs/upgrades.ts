/** Upgrades to any protocol, granted and not, with a body beside and without. */

import { answersOk, bytes, get, head, type Input, message, ok, request, until } from '../input.ts'

const upgrade = (protocol: string) => get('Connection: Upgrade', `Upgrade: ${protocol}`)
const post = (protocol: string, headers: readonly string[], body: string) =>
  message('POST / HTTP/1.1', ['Host: a', 'Connection: Upgrade', `Upgrade: ${protocol}`, ...headers], body)
const switches = (protocol: string) =>
  message('HTTP/1.1 101 Switching Protocols', ['Connection: Upgrade', `Upgrade: ${protocol}`])
const protocols = ['websocket', 'WebSocket', 'tcp', 'SPDY/3.1', 'foo/2', 'h2c', 'TLS/1.2']

export const upgrades: readonly Input[] = [
  ...protocols.map(protocol => ({
    name: `an upgrade to ${protocol} and bytes both ways`,
    client: [upgrade(protocol), until('\r\n\r\n'), 'ping'],
    server: [head, switches(protocol), bytes(4), 'pong', bytes(1000)],
  })),
  ...protocols.map(protocol => ({
    name: `an upgrade to ${protocol} that the endpoint takes no notice of`,
    client: [upgrade(protocol)],
    server: answersOk,
  })),
  ...['tcp', 'TLS/1.2', 'h2c', 'websocket'].flatMap(protocol => [
    {
      name: `a body with a length beside an offer of ${protocol}`,
      client: [post(protocol, ['Content-Length: 2'], 'hi')],
      server: answersOk,
    },
    {
      name: `chunks beside an offer of ${protocol}`,
      client: [post(protocol, ['Transfer-Encoding: chunked'], '2\r\nhi\r\n0\r\n\r\n')],
      server: answersOk,
    },
    {
      name: `a body beside an upgrade to ${protocol} that is granted`,
      client: [post(protocol, ['Content-Length: 2'], 'hi'), until('\r\n\r\n'), 'ping'],
      server: [head, bytes(2), switches(protocol), bytes(4), 'pong', bytes(1000)],
    },
  ]),
  {
    name: 'an offer of h2c with settings, and the next request',
    client: [
      get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
      until('ok'),
      get(),
    ],
    server: answersOk,
  },
  {
    name: 'an offer of TLS, and the next request',
    client: [upgrade('TLS/1.2'), until('ok'), get()],
    server: answersOk,
  },
  {
    name: 'an upgrade that is refused with 403',
    client: [upgrade('websocket')],
    server: [request, message('HTTP/1.1 403 No', ['Content-Length: 2'], 'no')],
  },
  {
    name: 'an upgrade with bytes at once behind it',
    client: [`${upgrade('tcp')}early`],
    server: [head, switches('tcp'), bytes(5), 'got it', bytes(1000)],
  },
  { name: 'Upgrade without Connection', client: [get('Upgrade: websocket')], server: answersOk },
  {
    name: 'a tunnel that the client ends',
    client: [upgrade('tcp'), until('\r\n\r\n'), 'ping', { do: 'fin' }],
    server: [head, switches('tcp'), bytes(4), 300, 'pong', { do: 'fin' }],
  },
  {
    name: 'a tunnel that the endpoint ends',
    client: [upgrade('tcp'), until('bye'), 'more'],
    server: [head, switches('tcp'), 'bye', { do: 'fin' }, bytes(4)],
  },
  {
    name: 'an upgrade of HTTP/1.0',
    client: [message('GET / HTTP/1.0', ['Host: a', 'Connection: Upgrade', 'Upgrade: tcp'])],
    server: [head, ok],
  },
]
