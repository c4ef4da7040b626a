/** Creates objects at an API server, many at a time: `{"path": …, "body": …}` a line on standard input. Runs where the server is. */

import { Agent, request } from 'node:https'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({ options: { port: { type: 'string' }, token: { type: 'string' } } })
const agent = new Agent({ keepAlive: true, maxSockets: 32, rejectUnauthorized: false })
const headers = { authorization: `Bearer ${flags.token}`, 'content-type': 'application/json' }

const chunks: Buffer[] = []
for await (const chunk of process.stdin) chunks.push(chunk)
const lines = Buffer.concat(chunks).toString().split('\n').filter(Boolean)
await Promise.all(Array.from({ length: 32 }, createAll))

async function createAll(): Promise<void> {
  for (let line = lines.pop(); line !== undefined; line = lines.pop()) {
    const { path, body } = JSON.parse(line)
    await create(path, JSON.stringify(body))
  }
}

function create(path: string, body: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const options = { host: '127.0.0.1', port: flags.port, path, method: 'POST', headers, agent }
  const asked = request(options, response => {
    let answer = ''
    response.setEncoding('utf8').on('data', (text: string) => {
      answer += text
    })
    response.on('end', () => {
      if (response.statusCode! < 300) resolve()
      else reject(new Error(`POST ${path}: ${response.statusCode} ${answer}`))
    })
  })
  asked.on('error', reject)
  asked.end(body)
  return promise
}
