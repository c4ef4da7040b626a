/** What an application fails at happens once. */

import { type Input, message, request, reset } from '../input.ts'

const methods = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE', 'POST', 'PATCH', 'LIST']
const ask = (method: string, ...headers: readonly string[]) =>
  message(`${method} / HTTP/1.1`, ['Host: a', 'Content-Length: 0', ...headers])

export const repetitions: readonly Input[] = methods.flatMap(method => [
  {
    name: `a ${method} that the only endpoint answers with 500`,
    client: [ask(method)],
    server: [request, message('HTTP/1.1 500 Oh', ['Content-Length: 0'])],
  },
  {
    name: `a ${method} with a condition that the only endpoint answers with 503`,
    client: [ask(method, 'If-None-Match: *')],
    server: [request, message('HTTP/1.1 503 Oh', ['Content-Length: 0'])],
  },
  { name: `a ${method} that the only endpoint resets`, client: [ask(method)], server: [request, reset] },
])
