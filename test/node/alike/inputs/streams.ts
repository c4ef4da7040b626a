/** Connections with several requests, and those that last. */

import { answersOk, fin, get, head, type Input, message, ok, request, until } from '../input.ts'

const numbered = (i: number) => message(`GET /${i} HTTP/1.1`, ['Host: a'])
const events = message('HTTP/1.1 200 OK', ['Content-Type: text/event-stream', 'Transfer-Encoding: chunked'])

export const streams: readonly Input[] = [
  { name: 'two requests one after another', client: [numbered(1), until('ok'), numbered(2)], server: answersOk },
  { name: 'a request, a pause and another', client: [numbered(1), until('ok'), 1300, numbered(2)], server: answersOk },
  {
    name: 'three requests at once, answered in turn',
    client: [`${numbered(1)}${numbered(2)}${numbered(3)}`],
    server: [head, ok],
  },
  {
    name: 'a POST and a GET at once',
    client: [`${message('POST / HTTP/1.1', ['Host: a', 'Content-Length: 2'], 'hi')}${numbered(2)}`],
    server: [head, ok, head, ok],
  },
  { name: 'Connection: close of the client', client: [get('Connection: close')], server: [request, ok, fin] },
  { name: 'Connection: keep-alive of the client', client: [get('Connection: keep-alive')], server: answersOk },
  { name: 'Connection that names a header', client: [get('Connection: X-A', 'X-A: b')], server: answersOk },
  {
    name: 'HTTP/1.0',
    client: [message('GET / HTTP/1.0', ['Host: a'])],
    server: [request, message('HTTP/1.0 200 OK', [], 'ok'), fin],
  },
  {
    name: 'HTTP/1.0 without Host',
    client: [message('GET / HTTP/1.0')],
    server: [request, message('HTTP/1.0 200 OK', [], 'ok'), fin],
  },
  {
    name: 'HTTP/1.0 with keep-alive',
    client: [message('GET / HTTP/1.0', ['Host: a', 'Connection: keep-alive'])],
    server: [request, message('HTTP/1.0 200 OK', ['Content-Length: 2', 'Connection: keep-alive'], 'ok')],
  },
  { name: 'HTTP/0.9', client: ['GET /\r\n'], server: [{ do: 'bytes', count: 7 }, 'ok', fin] },
  { name: 'HTTP/1.2', client: [message('GET / HTTP/1.2', ['Host: a'])], server: answersOk },
  { name: 'HTTP/2.0 in the first line', client: [message('GET / HTTP/2.0', ['Host: a'])], server: answersOk },
  {
    name: 'server-sent events',
    client: [get('Accept: text/event-stream')],
    server: [request, events, 300, '9\r\ndata: 1\n\n\r\n', 300, '9\r\ndata: 2\n\n\r\n', 60_000],
  },
  { name: 'a long poll of 2 s', client: [get(), until('ok')], server: [request, 2000, ok] },
  {
    name: 'a head that comes slowly',
    client: ['GET / HT', 200, 'TP/1.1\r\nHo', 200, 'st: a\r\n', 200, '\r\n'],
    server: answersOk,
  },
  { name: 'line ends before the request', client: [`\r\n\r\n${get()}`], server: answersOk },
  { name: 'a request with bare LF', client: ['GET / HTTP/1.1\nHost: a\n\n'], server: [{ do: 'bytes', count: 24 }, ok] },
  { name: 'a request of which half comes', client: ['GET / HTTP/1.1\r\nHost: a\r\n'], server: answersOk },
  { name: 'a connection without a byte', client: [], server: answersOk },
  { name: 'an idle connection after an answer', client: [get(), until('ok'), 1500], server: answersOk },
  { name: 'an endpoint that ends its idle connection', client: [get(), until('ok')], server: [request, ok, 300, fin] },
]
