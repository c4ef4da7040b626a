/** `client.ts http|fetch UPLOAD URL...` */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { buffer } from 'node:stream/consumers'

const [library, file, ...urls] = process.argv.slice(2) as [string, string, ...string[]]
const upload = readFileSync(file)

interface Options {
  readonly method?: string
  readonly body?: 'sized' | 'chunked'
  readonly expects?: boolean
}

interface Answer {
  readonly status: number
  readonly body: Buffer
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function byHttp(url: string, { method = 'GET', body, expects = false }: Options): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = {
    ...(body === 'sized' ? { 'Content-Length': upload.length } : {}),
    ...(expects ? { Expect: '100-continue' } : {}),
  }
  const asked = request(url, { method, agent, headers })
  asked.on('response', async answer => resolve({ status: answer.statusCode!, body: await buffer(answer) }))
  asked.on('error', reject)
  if (expects) {
    // A server of HTTP/1.0 does not say that it may go on; RFC 9110 section 10.1.1 has clients not wait for ever.
    const goOn = () => !asked.writableEnded && asked.end(upload)
    asked.on('continue', goOn)
    setTimeout(goOn, 1000)
    asked.flushHeaders()
  } else if (body === 'chunked') {
    asked.write(upload.subarray(0, 1000))
    asked.end(upload.subarray(1000))
  } else asked.end(body && upload)
  return promise
}

async function byFetch(url: string, { method = 'GET', body }: Options): Promise<Answer> {
  const whole = body === 'chunked' ? new Blob([upload]).stream() : body && new Uint8Array(upload)
  const answer = await fetch(url, { method, ...(whole && { body: whole, duplex: 'half' }) })
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) }
}

const send = library === 'http' ? byHttp : byFetch

async function tell(url: string, operation: string, path: string, options: Options = {}, times = 1): Promise<void> {
  const sum = createHash('sha1')
  let status = 0
  try {
    for (let i = 0; i < times; i++) {
      const answer = await send(url + path, options)
      sum.update(answer.body)
      status = answer.status
    }
    console.log(url, operation, status, sum.digest('hex'))
  } catch (error) {
    console.log(url, operation, String(error).replaceAll(' ', '-'), '-')
  }
}

for (const url of urls) {
  await tell(url, 'get', '/hello')
  await tell(url, 'head', '/hello', { method: 'HEAD' })
  await tell(url, 'post', '/echo', { method: 'POST', body: 'sized' })
  await tell(url, 'chunked', '/echo', { method: 'POST', body: 'chunked' })
  if (library === 'http') await tell(url, 'continue', '/echo', { method: 'POST', body: 'sized', expects: true })
  await tell(url, 'kept', '/hello', {}, 20)
  await tell(url, 'big', '/big')
  await tell(url, 'missing', '/missing')
  await tell(url, 'failing', '/failing')
}
process.exit()
