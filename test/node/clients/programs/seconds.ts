/**
 * `seconds.ts URL...`: ten clients for each URL that keep their connections, with three POSTs a second each, the first at the second's
 * beginning, for which Envoy may let connections to endpoints stay open. Until it is ended.
 */

import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const urls = process.argv.slice(2)
const agents = Array.from({ length: 10 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))

for (let third = 0; ; third = (third + 1) % 3) {
  const at = (third * 1000) / 3
  await sleep((1000 + at - (Date.now() % 1000)) % 1000)
  for (const agent of agents)
    for (const url of urls) {
      const asked = request(`${url}/echo`, { method: 'POST', agent }, answer => answer.resume())
      asked.on('error', () => undefined).end('once')
    }
}
