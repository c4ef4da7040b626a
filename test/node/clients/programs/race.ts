/**
 * `race.ts IDLE-MS URL...`: 300 POSTs to each, every one on a connection of its own, in 30 rows of 10. Pauses come close to the time after
 * which the server closes an idle connection. Prints what was not answered as it should be.
 */

import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const [idle, ...urls] = process.argv.slice(2) as [string, ...string[]]

function post(url: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const asked = request(`${url}/echo`, { method: 'POST', agent: false })
  asked.on('response', answer => {
    let body = ''
    answer.setEncoding('latin1').on('data', chunk => {
      body += chunk
    })
    answer.on('close', () => resolve(`${answer.statusCode} ${body}`))
  })
  asked.on('error', error => resolve(String(error)))
  asked.end('once')
  return promise
}

await Promise.all(
  urls.flatMap(url =>
    Array.from({ length: 30 }, async (_, row) => {
      for (let i = 0; i < 10; i++) {
        await sleep(Number(idle) * (0.9 + 0.2 * Math.random()) + row)
        const answer = await post(url)
        if (answer !== '200 once') console.log(url, answer)
      }
    }),
  ),
)
