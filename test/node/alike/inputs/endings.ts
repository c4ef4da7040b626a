/** Ends of connections, on either side and at any time. */

import { answersOk, fin, get, head, type Input, message, ok, request, reset, until } from '../input.ts'

const post = message('POST / HTTP/1.1', ['Host: a', 'Content-Length: 2'], 'hi')

export const endings: readonly Input[] = [
  { name: "a GET, and the client's FIN with it", client: [get(), fin], server: [request, 100, ok, fin] },
  { name: "a GET, and the client's FIN while it waits", client: [get(), 1500, fin], server: [request, 2000, ok, fin] },
  { name: "a POST, and the client's FIN with it", client: [post, fin], server: [request, 100, ok, fin] },
  { name: 'a FIN of the client after the answer', client: [get(), until('ok'), fin], server: [request, ok, head, fin] },
  { name: 'a FIN of the client before a request', client: [fin], server: [100, fin] },
  { name: 'a FIN of the client in the midst of a body', client: [post.slice(0, -1), fin], server: [head, 300, fin] },
  { name: 'a reset of the client before the answer', client: [get(), 1500, reset], server: [request, 3000, ok] },
  { name: 'a reset of the client after the answer', client: [get(), until('ok'), reset], server: answersOk },
  { name: 'an endpoint that ends the connection before a request', client: [200, get()], server: [50, fin, 2000] },
  { name: 'an endpoint that ends the connection without an answer', client: [get()], server: [request, fin] },
  { name: 'an endpoint that resets the connection without an answer', client: [get()], server: [request, reset] },
  { name: 'an endpoint that resets a POST', client: [post], server: [request, reset] },
  { name: 'an endpoint that ends the connection of a POST', client: [post], server: [request, fin] },
  {
    name: 'an endpoint that ends the connection in the midst of a head',
    client: [get()],
    server: [request, 'HTTP/1.1 200 OK\r\nX-', fin],
  },
  { name: 'an endpoint that never answers', client: [get()], server: [request, 60_000] },
  { name: 'a POST written and closed at once', client: [post, fin], server: [request, ok, fin] },
]
