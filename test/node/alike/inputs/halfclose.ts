/** Clients that end their side of the connection with their last bytes and read on. */

import { bytes, fin, get, head, type Input, message, ok, request, until } from '../input.ts'

const post = message('POST / HTTP/1.1', ['Host: a', 'Content-Length: 2'], 'hi')
const chunked = message('POST / HTTP/1.1', ['Host: a', 'Transfer-Encoding: chunked'])
const switching = message('HTTP/1.1 101 Switching Protocols', ['Connection: Upgrade', 'Upgrade: tcp'])
const streamed = message('HTTP/1.1 200 OK', ['Transfer-Encoding: chunked'])

const inputs: readonly Input[] = [
  { name: 'GET', client: [get(), fin], server: [request, 100, ok, fin] },
  { name: 'POST', client: [post, fin], server: [request, 100, ok, fin] },
  { name: 'POST that is answered at once', client: [post, fin], server: [request, ok, fin] },
  { name: 'POST in chunks', client: [`${chunked}2\r\nhi\r\n`, 20, '0\r\n\r\n', fin], server: [request, 100, ok, fin] },
  { name: 'GET of HTTP/1.0', client: [message('GET / HTTP/1.0'), fin], server: [request, 100, ok, fin] },
  { name: 'GET with Connection: close', client: [get('Connection: close'), fin], server: [request, 100, ok, fin] },
  {
    name: 'GET whose answer takes a second',
    client: [get(), fin],
    server: [request, 500, streamed, '2\r\nhi\r\n', 500, '0\r\n\r\n', fin],
  },
  { name: 'two GETs in one go', client: [get() + get(), fin], server: [request, ok, request, ok, fin] },
  { name: 'FIN alone', client: [fin], server: [100, fin] },
  { name: 'FIN after half a body', client: [post.slice(0, -1), fin], server: [head, 300, fin] },
  { name: 'FIN after half the chunks', client: [`${chunked}2\r\nhi\r\n`, fin], server: [head, 300, fin] },
  {
    name: 'a tunnel',
    client: [get('Connection: Upgrade', 'Upgrade: tcp'), until('\r\n\r\n'), 'ping', fin],
    server: [head, switching, bytes(4), 300, 'pong', fin],
  },
  { name: 'FIN while a GET waits', client: [get(), 1000, fin], server: [request, 1500, ok, fin] },
]

export const halfClose: readonly Input[] = inputs.map(input => ({ ...input, name: `half-close: ${input.name}` }))
