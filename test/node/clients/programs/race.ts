/**
 * `race.ts POST|GET|KEPT IDLE-MS URL...`: 300 requests to each, in 30 rows of 10; every POST on a connection of its own, the GETs of a row
 * on one, and so the POSTs of KEPT, which begin when that is old. Pauses come close to the time after which the server closes an idle
 * connection. Prints what was not answered as it should be.
 */

import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const [method, idle, ...urls] = process.argv.slice(2) as ['POST' | 'GET' | 'KEPT', string, ...string[]]
const {
  path,
  body: sent,
  expected,
} = {
  POST: { path: '/echo', body: 'once', expected: '200 once' },
  KEPT: { path: '/echo', body: 'once', expected: '200 once' },
  GET: { path: '/hello', body: '', expected: '200 hello' },
}[method]

const oldMs = 1100

function ask(url: string, agent: Agent | false): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const asked = request(`${url}${path}`, { method: method === 'GET' ? 'GET' : 'POST', agent })
  asked.on('response', answer => {
    let body = ''
    answer.setEncoding('latin1').on('data', chunk => {
      body += chunk
    })
    answer.on('close', () => resolve(`${answer.statusCode} ${body}`))
  })
  asked.on('error', error => resolve(String(error)))
  asked.end(sent)
  return promise
}

await Promise.all(
  urls.flatMap(url =>
    Array.from({ length: 30 }, async (_, row) => {
      const agent = method !== 'POST' && new Agent({ keepAlive: true, maxSockets: 1 })
      if (method === 'KEPT') {
        await ask(url, agent)
        await sleep(oldMs)
      }
      for (let i = 0; i < 10; i++) {
        await sleep(Number(idle) * (0.9 + 0.2 * Math.random()) + row)
        const answer = await ask(url, agent)
        if (answer !== expected) console.log(url, answer)
      }
      if (agent) agent.destroy()
    }),
  ),
)
