import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request } from 'node:https'
import { test } from 'node:test'
import { makeServerCertificate } from '../certificates/certificate.ts'
import { serviceOf, vectors } from '../services/handover/vectors.ts'
import { silentLog } from '../sources/testing.ts'
import { startWebhook } from './server.ts'

const hour = 3600e3
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
