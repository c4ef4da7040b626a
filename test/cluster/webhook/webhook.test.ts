import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { parse, parseAllDocuments } from 'yaml'
import { keeper } from '../../../src/certificates/keeper.ts'
import { kubernetesApi } from '../../../src/cluster/api.ts'
import { silentLog } from '../../../src/sources/testing.ts'
import { trustInWebhook } from '../../../src/webhook/bundle.ts'
import { startWebhook, type Webhook } from '../../../src/webhook/server.ts'
import { ApiServerProcess, noApiServer } from '../apiserver.ts'
import { Admission, plain, proxyName, until } from './admission.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const configurations = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
const secret = '/api/v1/namespaces/lightpath-system/secrets/lightpath-webhook'
const admission = new Admission(server)
let webhook: Webhook

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await admission.makeNamespaces()
  webhook = await start()
  const configuration = parse(deployed('configuration.yaml'))
  configuration.webhooks[0].clientConfig = { url: `https://127.0.0.1:${webhook.port}/admit` }
  await server.must('POST', configurations, configuration)
  await admission.untilInForce()
})

after(async () => {
  await webhook?.stop()
  await server.stop()
})

admission.testVectors('the webhook', options)

test('certificates are renewed while Services are created, and none is missed', options, async () => {
  const serials = new Set<string>()
  await until('three certificates were served', async () => {
    serials.add((await peer(webhook.port)).serial)
    assert.equal((await admission.create(plain))[proxyName], 'lightpath.cloud')
    return serials.size >= 3
  })
})

test('a Secret or a caBundle that somebody has spoilt is made good', options, async () => {
  const { metadata } = await server.must('GET', secret)
  const spoilt = { 'ca.crt': 'x', 'tls.crt': '-----BEGIN CERTIFICATE-----', 'tls.key': 'x' }
  await server.must('PUT', secret, { metadata, type: 'kubernetes.io/tls', stringData: spoilt })
  const good = Buffer.from('-----BEGIN ').toString('base64')
  await until('the Secret is good', async () => {
    const { data } = await server.must('GET', secret)
    return (data as Record<string, string>)['tls.key']!.startsWith(good.slice(0, 12))
  })
  await admission.untilInForce()
})

test('a second server uses the first one’s certificate', options, async () => {
  const second = await start()
  try {
    await until('both serve one certificate', async () => {
      const [a, b] = await Promise.all([peer(webhook.port), peer(second.port).catch(() => undefined)])
      return a.serial === b?.serial
    })
  } finally {
    await second.stop()
  }
})

test('a webhook that accepts and never answers keeps no Service from being created', options, async () => {
  const { port } = webhook
  await webhook.stop()
  const silent = createServer(() => {}).listen(port, '127.0.0.1')
  await once(silent, 'listening')
  try {
    assert.equal((await admission.create(plain))[proxyName], undefined)
  } finally {
    silent.close()
  }
})

test('a webhook that is gone keeps no Service from being created', options, async () => {
  assert.equal((await admission.create(plain))[proxyName], undefined)
})

test('`lightpath webhook` is healthy once it has a certificate, and ends in order', options, async () => {
  const args = ['--webhook-address', '127.0.0.1', '--webhook-port', String(webhook.port)]
  const cli = new URL('../../../src/cli.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [cli, 'webhook', ...args, '--kubeconfig', await accountKubeconfig()])
  const exited = once(child, 'exit')
  try {
    await until('it is healthy', async () => (await peer(webhook.port).catch(() => undefined)) !== undefined)
  } finally {
    child.kill('SIGTERM')
  }
  assert.deepEqual(await exited, [0, null])
})

async function start(): Promise<Webhook> {
  const ask = kubernetesApi(await accountKubeconfig())
  const trust = (authority: string) => trustInWebhook(ask, authority)
  return startWebhook({
    certificates: use =>
      keeper({ ask, secret: 'lightpath-webhook', names: ['127.0.0.1'], lifetimeMs: 9000, trust }, use),
    ...{ address: '127.0.0.1', port: 0, everyMs: 300, log: silentLog },
  })
}

/** With the rights of deploy/webhook alone. */
async function accountKubeconfig(): Promise<string> {
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  const within = '/namespaces/lightpath-system'
  const paths: Readonly<Record<string, string>> = {
    ServiceAccount: `/api/v1${within}/serviceaccounts`,
    Role: `${rbac}${within}/roles`,
    RoleBinding: `${rbac}${within}/rolebindings`,
    ClusterRole: `${rbac}/clusterroles`,
    ClusterRoleBinding: `${rbac}/clusterrolebindings`,
  }
  for (const document of parseAllDocuments(deployed('access.yaml'))) {
    const object = document.toJS()
    const made = await server.ask('POST', paths[object.kind]!, object)
    assert.ok(made.status === 201 || made.status === 409, JSON.stringify(made.body))
  }
  const account = `${paths.ServiceAccount}/lightpath-webhook/token`
  const { status } = await server.must('POST', account, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
  })
  return server.kubeconfig('webhook', `token: ${(status as { token: string }).token}`)
}

function deployed(file: string): string {
  return readFileSync(new URL(`../../../deploy/webhook/${file}`, import.meta.url), 'utf8')
}

/** The certificate that a server serves now, found by asking for its health. */
function peer(port: number): Promise<{ serial: string }> {
  return new Promise((resolve, reject) => {
    const target = { host: '127.0.0.1', port, path: '/healthz', agent: false, rejectUnauthorized: false }
    request(target, response => {
      const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate()
      response.resume()
      if (response.statusCode === 200) resolve({ serial: serialNumber })
      else reject(new Error(`/healthz: ${response.statusCode}`))
    })
      .on('error', reject)
      .end()
  })
}
