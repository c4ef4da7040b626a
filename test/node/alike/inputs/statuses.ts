/** Every status reaches the client, with its reason phrase, and of one request one answer. */

import { answering, get, type Input, message } from '../input.ts'

const codes = [
  200, 201, 202, 203, 205, 206, 207, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408,
  409, 410,
]
const more = [
  411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503,
  504, 505, 507, 508, 511, 520, 599,
]

export const statuses: readonly Input[] = [
  ...[...codes, ...more].map(code => ({
    name: `an answer of ${code} to a GET`,
    client: [get()],
    server: answering(message(`HTTP/1.1 ${code} My Reason`, ['Content-Length: 2', 'Location: /b'], 'ok')),
  })),
  ...[204, 304].map(code => ({
    name: `an answer of ${code} to a GET`,
    client: [get()],
    server: answering(message(`HTTP/1.1 ${code} My Reason`, ['ETag: "a"'])),
  })),
  ...[
    'HTTP/1.1 200',
    'HTTP/1.1 200 ',
    'HTTP/1.0 200 OK',
    'HTTP/1.1 600 Big',
    'HTTP/1.1 999 Big',
    'HTTP/1.1 99 Small',
  ].map(start => ({
    name: `an answer that starts with ${JSON.stringify(start)}`,
    client: [get()],
    server: answering(message(start, ['Content-Length: 2'], 'ok')),
  })),
]
