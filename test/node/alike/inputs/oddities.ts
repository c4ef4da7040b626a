/** What is no request: the endpoint may say so itself. */

import { answersOk, fin, type Input, message } from '../input.ts'

const refusal = message('HTTP/1.1 400 Bad Request', ['Content-Length: 0', 'Connection: close'])
const sends = (name: string, ...client: Input['client']): Input => ({
  name,
  client,
  server: [{ do: 'bytes', count: 4 }, refusal, fin],
})

export const oddities: readonly Input[] = [
  sends('bytes that are no request', 'hello world\r\n\r\n'),
  sends('a TLS ClientHello', '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00'),
  sends('a request line of two words', 'GET /\r\n\r\n'),
  sends('a request line of four words', 'GET / a HTTP/1.1\r\nHost: a\r\n\r\n'),
  sends('a method in small letters', message('get / HTTP/1.1', ['Host: a'])),
  sends('a method with a colon', message('G:T / HTTP/1.1', ['Host: a'])),
  sends('two spaces in the request line', message('GET  / HTTP/1.1', ['Host: a'])),
  sends('a tab in the request line', message('GET\t/ HTTP/1.1', ['Host: a'])),
  sends('a zero byte in a header', message('GET / HTTP/1.1', ['Host: a', 'X-A: b\0c'])),
  sends('a control character in a header', message('GET / HTTP/1.1', ['Host: a', 'X-A: b\x01c'])),
  sends('a bare CR in a header', message('GET / HTTP/1.1', ['Host: a', 'X-A: b\rc'])),
  { name: 'an unknown protocol version', client: [message('GET / HTTP/3.7', ['Host: a'])], server: answersOk },
]
