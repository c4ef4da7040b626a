import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { test } from 'node:test'
import { makeServerCertificate } from '../certificates/certificate.ts'
import { serviceOf, vectors } from '../services/handover/vectors.ts'
import { silentLog } from '../sources/testing.ts'
import { startWebhook } from './server.ts'

const hour = 3600e3
const mib = 1024 * 1024
const service = serviceOf(vectors[0]!, 'a')
const kind = { group: '', version: 'v1', kind: 'Service' }
const review = { request: { uid: '7', kind, operation: 'CREATE', namespace: 'shop', object: service } }

test('connections are kept for longer than the API server keeps them, and end with their answer before the webhook does', async () => {
  const webhook = await start()
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  const first = await post(webhook.port, agent, review)
  assert.ok(Number(/timeout=(\d+)/.exec(String(first.headers['keep-alive']))![1]) > 90)
  const stopped = webhook.stop(500)
  const last = await post(webhook.port, agent, review)
  assert.deepEqual([last.status, last.headers.connection], [200, 'close'])
  await stopped
  await assert.rejects(post(webhook.port, agent, review), /ECONNREFUSED/)
})

test('a review that makes no sense is refused, and the next one is answered', async () => {
  const webhook = await start()
  const agent = new Agent({ rejectUnauthorized: false })
  try {
    assert.equal((await post(webhook.port, agent, '{"request":')).status, 400)
    const { status, body } = await post(webhook.port, agent, review)
    const { uid, allowed, patchType } = JSON.parse(body).response
    assert.deepEqual([status, uid, allowed, patchType], [200, '7', true, 'JSONPatch'])
  } finally {
    await webhook.stop()
  }
})

test('bodies of one client take half of the room for them and no more, and those of all no more than there is', async () => {
  const webhook = await start()
  const begun: ClientRequest[] = []
  /** Sends most of a body, and resolves with the answer that comes before its end. */
  const begin = async (localAddress: string) => {
    const headers = { 'content-length': 3 * mib }
    const options = { host: '127.0.0.1', port: webhook.port, path: '/admit', method: 'POST', localAddress, headers }
    const asked = request({ ...options, agent: false, rejectUnauthorized: false })
    begun.push(asked)
    const response = once(
      asked.on('error', () => {}),
      'response',
    )
    asked.write(Buffer.alloc(mib * 2.5, ' '))
    return ((await response)[0] as IncomingMessage).statusCode
  }
  const firstOf = (...clients: string[]) => Promise.race(clients.map(begin))
  const reviewed = async (localAddress: string) => {
    const agent = new Agent({ rejectUnauthorized: false, localAddress })
    return (await post(webhook.port, agent, review)).status
  }
  try {
    assert.equal(await firstOf('127.0.0.1', '127.0.0.1', '127.0.0.1'), 503)
    assert.equal(await reviewed('127.0.0.2'), 200)
    assert.equal(await firstOf('127.0.0.2', '127.0.0.2', '127.0.0.3', '127.0.0.3'), 503)
    for (const each of begun) each.destroy()
    while ((await reviewed('127.0.0.1')) !== 200);
  } finally {
    for (const each of begun) each.destroy()
    await webhook.stop()
  }
})

function start() {
  const made = makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))
  return startWebhook({
    certificates: use => async () => use(made),
    ...{ address: '127.0.0.1', port: 0, everyMs: hour, log: silentLog },
  })
}

async function post(port: number, agent: Agent, body: unknown) {
  const asked = request({ host: '127.0.0.1', port, path: '/admit', method: 'POST', agent })
  asked.end(typeof body === 'string' ? body : JSON.stringify(body))
  const [response] = await once(asked, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }
}
