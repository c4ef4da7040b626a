/** Who reads the metrics of Services, with the roles of deploy/, and who gets the facts of a control plane, as a real API server says. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { after, before, test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { makeServerCertificate } from '../../src/certificates/certificate.ts'
import { type Ask, kubernetesApi } from '../../src/cluster/api.ts'
import { factsAccess } from '../../src/controlplane/admission.ts'
import { Bearers } from '../../src/observe/access/bearers.ts'
import { authorizedMetrics, metricsAccess } from '../../src/observe/access/route.ts'
import { type HttpServer, serveTcp, text } from '../../src/observe/http.ts'
import { silentLog } from '../../src/sources/testing.ts'
import { ApiServerProcess, freePorts, guestToken, noApiServer } from './apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const hour = 3600e3
let port: number
let ask: Ask
let agent: HttpServer

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await server.makeNamespaces({ 'lightpath-system': {}, monitoring: {} })
  for (const [namespace, name] of [
    ['lightpath-system', 'lightpath-node'],
    ['monitoring', 'prometheus-k8s'],
    ['monitoring', 'other'],
  ]) {
    await server.must('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } })
  }
  await apply('node/access.yaml')
  await apply('components/prometheus/access.yaml')
  const token = await tokenOf('lightpath-system', 'lightpath-node')
  ask = kubernetesApi(server.kubeconfig('agent', `token: ${token}`))
  const bearers = new Bearers((path, object) => ask('POST', path, object), metricsAccess)
  const pages = { node: async () => text(200, 'of the node'), all: async () => text(200, 'of Services') }
  ;[port] = (await freePorts(1)) as [number]
  const made = makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))
  const where = { address: '127.0.0.1', port, tls: made }
  agent = await serveTcp({ '/metrics': authorizedMetrics(pages, bearers) }, where, silentLog)
})

after(async () => {
  await agent?.stop()
  await server.stop()
})

test(
  'Prometheus reads them, by the role of the component, and goes on while the API server is away',
  options,
  async () => {
    const token = await tokenOf('monitoring', 'prometheus-k8s')
    assert.deepEqual(await scrape(token), [200, 'of Services\n'])
    const other = await tokenOf('monitoring', 'other')
    await server.killServer()
    try {
      assert.deepEqual(await scrape(token), [200, 'of Services\n'])
      assert.deepEqual(await scrape(other), [200, 'of the node\n'])
    } finally {
      await server.startServer()
    }
  },
)

test('who has no token, one that is not known, or no right reads nothing', options, async () => {
  assert.deepEqual(await scrape(undefined), [401, 'send a bearer token; port 9000 has what needs none\n'])
  assert.deepEqual(await scrape('made-up'), [401, 'the API server does not know this token\n'])
  assert.deepEqual(await scrape(guestToken), [403, 'guest may not get the nonResourceURL /metrics\n'])
  const [status, body] = await scrape(await tokenOf('lightpath-system', 'lightpath-node'))
  assert.equal(status, 403)
  assert.match(body, /^system:serviceaccount:lightpath-system:lightpath-node may not/)
})

test('an agent has a token for control planes, which says its node and is of no use elsewhere', options, async () => {
  const rules = [{ nonResourceURLs: [factsAccess.path], verbs: ['get'] }]
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'facts' }
  const subjects = [{ kind: 'ServiceAccount', namespace: 'lightpath-system', name: 'lightpath-node' }]
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  await server.must('POST', `${rbac}/clusterroles`, { metadata: { name: 'facts' }, rules })
  await server.must('POST', `${rbac}/clusterrolebindings`, { metadata: { name: 'facts' }, roleRef, subjects })
  const node = await server.must('POST', '/api/v1/nodes', { metadata: { name: 'node7' } })
  const { uid } = node.metadata as { uid: string }
  const boundObjectRef = { apiVersion: 'v1', kind: 'Node', name: 'node7', uid }
  const spec = { audiences: [factsAccess.audience], boundObjectRef }
  const token = await tokenOf('lightpath-system', 'lightpath-node', spec)
  const bearers = new Bearers((path, object) => ask('POST', path, object), factsAccess)
  assert.deepEqual(await bearers.verdict(token, 'a'), { kind: 'allowed', node: 'node7' })
  assert.equal((await scrape(token))[0], 401)
  const forApi = await tokenOf('lightpath-system', 'lightpath-node')
  assert.deepEqual(await bearers.verdict(forApi, 'a'), { kind: 'unauthenticated' })
  const other = await tokenOf('monitoring', 'other', { audiences: [factsAccess.audience] })
  assert.equal((await bearers.verdict(other, 'a')).kind, 'forbidden')
})

async function apply(file: string): Promise<void> {
  const text = readFileSync(new URL(`../../deploy/${file}`, import.meta.url), 'utf8')
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS()
    if (object.kind === 'ServiceAccount') continue
    const path = `/apis/rbac.authorization.k8s.io/v1/${object.kind.toLowerCase()}s`
    await server.must('POST', path, object)
  }
}

async function tokenOf(namespace: string, name: string, spec: object = {}): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`
  const made = await server.must('POST', path, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec,
  })
  return (made.status as { token: string }).token
}

function scrape(token: string | undefined): Promise<readonly [number, string]> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port, path: '/metrics', headers, rejectUnauthorized: false, agent: false }
    const sent = request(where, async response => {
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      resolve([response.statusCode!, Buffer.concat(chunks).toString()])
    })
    sent.on('error', reject).end()
  })
}
