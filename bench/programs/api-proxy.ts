/**
 * Takes requests to an API server by a Unix socket, and says when each was answered. Runs in the server's network namespace, for
 * a benchmark outside of it.
 */

import { createServer } from 'node:http'
import { Agent, request } from 'node:https'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: { socket: { type: 'string' }, port: { type: 'string' }, token: { type: 'string' } },
})
const agent = new Agent({ keepAlive: true, maxSockets: 64, rejectUnauthorized: false })
const headers = { authorization: `Bearer ${flags.token}`, 'content-type': 'application/json' }

createServer((asked, answer) => {
  const { method, url: path } = asked
  const forwarded = request({ host: '127.0.0.1', port: flags.port, method, path, headers, agent }, response => {
    answer.writeHead(response.statusCode!, { 'answered-at': performance.timeOrigin + performance.now() })
    response.pipe(answer)
  })
  forwarded.on('error', ({ message }) => answer.writeHead(502).end(message))
  asked.pipe(forwarded)
}).listen(flags.socket)
