/** `lightpath uninstall` at a real API server: the test does what controllers and kubelets would. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { run } from '../../../src/lab/processes.ts'
import { ApiServerProcess, adminToken, noApiServer } from '../apiserver.ts'

const options = { skip: noApiServer, timeout: 180_000 }
const server = new ApiServerProcess()
const program = fileURLToPath(new URL('../../../bin/lightpath', import.meta.url))
const proxyName = 'service.kubernetes.io/service-proxy-name'
const image = 'registry.example/lightpath:7'
const daemonSets = (namespace: string) => `/apis/apps/v1/namespaces/${namespace}/daemonsets`
const services = '/api/v1/namespaces/shop/services'
const configuration = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lightpath.cloud'
const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/lightpath-node'

interface Raw {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string }
  readonly [field: string]: unknown
}

let isOver = false
let controllers: Promise<void> | undefined
/** Nodes that are cleaned as soon as they are asked to be. */
let cleaned: readonly string[] = ['node1', 'node2']

/** Namespaces that are deleted go; the DaemonSet that cleans gets a pod on each node. */
async function control(): Promise<void> {
  for (; !isOver; await sleep(100)) {
    for (const name of ['lightpath-system', 'lightpath-cleanup']) await finish(name)
    const { body, status } = await server.ask('GET', `${daemonSets('lightpath-cleanup')}/lightpath-cleanup`)
    if (status === 200) for (const node of cleaned) await cleanedBy(body as unknown as Raw, node)
  }
}

async function finish(name: string): Promise<void> {
  const path = `/api/v1/namespaces/${name}`
  const { body, status } = await server.ask('GET', path)
  const namespace = body as unknown as Raw
  if (status !== 200 || namespace.metadata.deletionTimestamp === undefined) return
  for (const kind of [`${path}/pods`, daemonSets(name)]) await server.ask('DELETE', `${kind}?gracePeriodSeconds=0`)
  await server.ask('PUT', `${path}/finalize`, { ...namespace, spec: { finalizers: [] } })
}

async function cleanedBy({ metadata: { name, uid } }: Raw, node: string): Promise<void> {
  const pods = '/api/v1/namespaces/lightpath-cleanup/pods'
  const pod = `${name}-${node}-${uid.slice(0, 8)}`
  const owner = { apiVersion: 'apps/v1', kind: 'DaemonSet', name, uid, controller: true }
  const spec = { nodeName: node, containers: [{ name: 'a', image: 'a' }] }
  await server.ask('POST', pods.replace(/pods$/, 'serviceaccounts'), { metadata: { name: 'default' } })
  await server.ask('POST', pods, { metadata: { name: pod, ownerReferences: [owner] }, spec })
  await server.ask('PATCH', `${pods}/${pod}/status`, { status: { conditions: [{ type: 'Ready', status: 'True' }] } })
}

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await server.makeNamespaces({ shop: {} })
  for (const name of ['node1', 'node2']) {
    await server.must('POST', '/api/v1/nodes', { metadata: { name, labels: { 'kubernetes.io/os': 'linux' } } })
    await server.must('PATCH', `/api/v1/nodes/${name}/status`, {
      status: { conditions: [{ type: 'Ready', status: 'True' }], images: [{ names: [image] }] },
    })
  }
  controllers = control()
})

after(async () => {
  isOver = true
  await controllers
  await server.stop()
})

async function uninstall(...args: readonly string[]) {
  const kubeconfig = server.kubeconfig('admin', `token: ${adminToken}`)
  const { code, stdout, stderr } = await run(program, ['uninstall', '--kubeconfig', kubeconfig, ...args], {
    timeoutMs: 60_000,
  })
  return { code, stdout, stderr }
}

async function makeService(name: string): Promise<void> {
  const metadata = { name, labels: { [proxyName]: 'lightpath.cloud', app: name } }
  await server.must('POST', services, { metadata, spec: { ports: [{ port: 80 }] } })
}

async function labelsOf(name: string): Promise<unknown> {
  const { metadata } = await server.must('GET', `${services}/${name}`)
  return (metadata as { labels?: unknown }).labels
}

const isThere = async (path: string) => (await server.ask('GET', path)).status === 200

test('uninstall says what there is, and changes nothing without --yes', options, async () => {
  await makeService('web')
  await server.must('POST', role.replace(/\/[^/]*$/, ''), { metadata: { name: 'lightpath-node' }, rules: [] })
  await server.must('POST', configuration.replace(/\/[^/]*$/, ''), { metadata: { name: 'lightpath.cloud' } })
  const { code, stdout } = await uninstall()
  assert.equal(code, 0)
  for (const line of [
    'mutatingwebhookconfigurations/lightpath.cloud',
    'clusterroles/lightpath-node',
    '1 Services that have the label of Lightpath',
    '2 nodes, whose kernels may have rules of Lightpath',
  ]) {
    assert.match(stdout, new RegExp(`^ {2}${line}$`, 'm'))
  }
  assert.match(stdout, /^Nothing was changed; --yes does it\.$/m)
  assert.deepEqual(await labelsOf('web'), { [proxyName]: 'lightpath.cloud', app: 'web' })
  assert.ok(await isThere(configuration))
})

test(
  'uninstall gives every Service back and cleans every node after somebody deleted the namespace',
  options,
  async () => {
    const { code, stdout } = await uninstall('--yes', '--output', 'json')
    assert.equal(code, 0)
    const { result } = JSON.parse(stdout)
    assert.deepEqual(result.cleanNodes, ['node1', 'node2'])
    assert.deepEqual([result.otherNodes, result.failedServices], [[], []])
    assert.deepEqual(await labelsOf('web'), { app: 'web' })
    for (const path of [configuration, role, '/api/v1/namespaces/lightpath-cleanup']) assert.ok(!(await isThere(path)))
  },
)

test('uninstall leaves no Pod that waits for a word of a control plane', options, async () => {
  const type = 'lightpath.cloud/Reachable'
  const pods = '/api/v1/namespaces/shop/pods'
  await server.ask('POST', pods.replace(/pods$/, 'serviceaccounts'), { metadata: { name: 'default' } })
  const make = async (name: string, isGated: boolean, status?: 'True' | 'False') => {
    const gates = isGated ? { readinessGates: [{ conditionType: type }] } : {}
    await server.must('POST', pods, { metadata: { name }, spec: { containers: [{ name: 'a', image: 'a' }], ...gates } })
    const conditions = [{ type: 'Ready', status: 'True' }, ...(status ? [{ type, status, reason: 'test' }] : [])]
    await server.must('PATCH', `${pods}/${name}/status`, { status: { conditions } })
  }
  await make('excluded', true, 'False')
  await make('told', false, 'False')
  await make('new', true)
  await make('reachable', true, 'True')
  await make('plain', false)
  assert.match((await uninstall('--yes')).stdout, /^ {2}said of 3 Pods that they can be reached$/m)
  const { items } = await server.must('GET', pods)
  const said = (items as Raw[]).map(({ metadata, status }) => {
    const { conditions } = status as { conditions: readonly { type: string; status: string }[] }
    return [metadata.name, conditions.find(one => one.type === type)?.status]
  })
  const expected = { excluded: 'True', told: 'True', new: 'True', reachable: 'True', plain: undefined }
  assert.deepEqual(Object.fromEntries(said), expected)
  assert.doesNotMatch((await uninstall('--yes')).stdout, /said of/)
})

test('uninstall can be repeated', options, async () => {
  const { code, stdout } = await uninstall('--yes')
  assert.equal(code, 0)
  assert.match(stdout, /^ {2}cleaned 2 of 2 nodes$/m)
  assert.match(stdout, /^Nothing of Lightpath is left\.$/m)
})

test('uninstall tells which node is not clean, goes on with the rest, and finishes when it is', options, async () => {
  await makeService('other')
  cleaned = ['node1']
  const { code, stdout } = await uninstall('--yes', '--timeout', '2')
  assert.equal(code, 1)
  assert.match(stdout, /^ {2}node node2 is not known to be clean: no pod of lightpath-cleanup has come$/m)
  assert.deepEqual(await labelsOf('other'), { app: 'other' })
  assert.ok(await isThere('/api/v1/namespaces/lightpath-cleanup'))
  cleaned = ['node1', 'node2']
  assert.equal((await uninstall('--yes')).code, 0)
  assert.ok(!(await isThere('/api/v1/namespaces/lightpath-cleanup')))
})

test(
  'uninstall removes agents that serve all Services only where there is a kube-proxy, unless --force',
  options,
  async () => {
    await server.makeNamespaces({ 'lightpath-system': {} })
    const labels = { 'app.kubernetes.io/component': 'node' }
    const args = ['node', '--services=labelled', '--services=all']
    await server.must('POST', daemonSets('lightpath-system'), {
      metadata: { name: 'lightpath-node' },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'agent', image, args }] } },
      },
    })
    const refused = await uninstall('--yes')
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /^lightpath uninstall: the agents serve all Services, and 2 of 2 nodes have no pod of kube-proxy/,
    )
    assert.ok(await isThere(`${daemonSets('lightpath-system')}/lightpath-node`))
    const forced = await uninstall('--yes', '--force')
    assert.equal(forced.code, 0, forced.stderr)
    assert.match(forced.stdout, /^ {2}removed DaemonSet lightpath-node$/m)
    assert.ok(!(await isThere('/api/v1/namespaces/lightpath-system')))
  },
)
