/** Which requests that must happen once share connections to their endpoint. */

import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { httpEndpoint, serve, servicePort } from '../envoy.ts'

/** From when on Envoy takes a client to keep its connection. */
const keptMs = 1000
/** Some of the half seconds after which clients change to new connections; longer where 100 requests take longer. */
const askedMs = 1200

/** What a gateway passes on with each request of one that it got itself. */
const headers = { 'X-Request-Id': 'same' }

const kinds = ['watched', 'lasting'] as const
type Kind = (typeof kinds)[number]

/** Of thousands in a second some have the same port, one after another. */
const numbers = new Map<Socket, number>()

function numberOf(connection: Socket): number {
  const number = numbers.get(connection) ?? numbers.size
  numbers.set(connection, number)
  return number
}

test('POSTs', async t => {
  const states = await Promise.all(
    kinds.map(async kind => {
      const endpoint = await httpEndpoint(t, ({ headers, socket }, response) =>
        response.end(`${numberOf(socket)} ${headers.connection}`),
      )
      const state = await servicePort(kind, 'http', [endpoint.port])
      const lasting = new Set([`127.0.0.1:${endpoint.port}`])
      return { ...state, observed: kind === 'lasting' ? { lasting } : { isWatched: true } }
    }),
  )
  const ports = new Map(kinds.map((kind, n) => [kind, states[n]!.port.port]))
  await serve(t, states)

  const post = (kind: Kind, agent: Agent | false): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const asked = request({ host: '127.0.0.1', port: ports.get(kind)!, method: 'POST', headers, agent }, answer => {
      let body = ''
      answer.setEncoding('latin1').on('data', chunk => {
        body += chunk
      })
      answer.on('end', () => resolve(body))
    })
    asked.on('error', reject).end('once')
    return promise
  }

  /** What a client gets that has just come, as long as it has. */
  const several = async (kind: Kind, agent: Agent | false): Promise<readonly string[]> => {
    const answers: string[] = []
    const began = performance.now()
    for (let i = 0; i < 10; i++) {
      const answer = await post(kind, agent)
      if (agent === false || performance.now() < began + keptMs) answers.push(answer)
    }
    return answers
  }

  const haveOneEach = (answers: readonly string[]) =>
    new Set(answers.map(answer => answer.split(' ')[0])).size === answers.length
  const isFresh = (answers: readonly string[]) =>
    haveOneEach(answers) && answers.every(answer => answer.endsWith(' close'))

  for (const kind of kinds)
    await t.test(`of a client that has just come have a connection each (endpoints are ${kind})`, async () => {
      assert.ok(isFresh(await several(kind, false)))
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      assert.ok(isFresh(await several(kind, agent)))
      agent.destroy()
    })

  /** What a client gets that keeps its connection, and in how many half seconds at most. */
  const kept = async (kind: Kind): Promise<{ readonly answers: readonly string[]; readonly halfSeconds: number }> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    await post(kind, agent)
    await sleep(keptMs)
    const answers: string[] = []
    const began = performance.now()
    while (performance.now() < began + askedMs || answers.length < 100) answers.push(await post(kind, agent))
    agent.destroy()
    return { answers, halfSeconds: Math.ceil((performance.now() - began) / 500) + 1 }
  }

  await t.test(
    'of a client that keeps its connection share one within half a second, where endpoints let idle ones live',
    async () => {
      const { answers, halfSeconds } = await kept('lasting')
      const sharing = answers.filter(answer => !answer.endsWith(' close'))
      assert.ok(sharing.length * 2 > answers.length, `${sharing.length} of ${answers.length}`)
      assert.ok(
        new Set(sharing).size <= halfSeconds,
        `${new Set(sharing).size} connections for ${sharing.length} POSTs`,
      )
    },
  )

  await t.test('of such a client have a connection each while endpoints are watched; few stay open', async () => {
    const { answers } = await kept('watched')
    assert.ok(haveOneEach(answers), answers.join())
    const open = answers.filter(answer => !answer.endsWith(' close'))
    assert.ok(open.length * 10 < answers.length, `${open.length} of ${answers.length}`)
  })
})
