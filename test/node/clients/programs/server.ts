/** `server.ts http|http2 CONTENT PORT:IDLE-MS...`; no time means Node's own. */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { join } from 'node:path'

const [protocol, content, ...ports] = process.argv.slice(2) as [string, string, ...string[]]
const file = (name: string) => readFileSync(join(content, name))
const files: Readonly<Record<string, Buffer>> = { '/hello': file('hello'), '/big': file('big') }

type Response = Pick<ServerResponse, 'writeHead'> & { end(body: Buffer | string): unknown }

function answer(request: IncomingMessage | Http2ServerRequest, response: Response): void {
  const body: Buffer[] = []
  request.on('data', (chunk: Buffer) => body.push(chunk))
  request.on('end', () => {
    const path = request.url!
    if (path === '/echo') response.end(Buffer.concat(body))
    else if (files[path] !== undefined) response.end(files[path])
    else {
      response.writeHead(path === '/missing' ? 404 : 500)
      response.end('no')
    }
  })
}

for (const port of ports) {
  const [number, idle] = port.split(':')
  if (protocol === 'http2') {
    createHttp2Server((request, response: Http2ServerResponse) =>
      answer(request, response as unknown as Response),
    ).listen(Number(number))
    continue
  }
  const server = createServer(answer)
  if (idle !== '') Object.assign(server, { keepAliveTimeout: Number(idle), keepAliveTimeoutBuffer: 0 })
  server.listen(Number(number))
}
