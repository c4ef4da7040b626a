/** Commands that read the cluster, where they cannot: one line and a code at once. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { run } from '../../src/lab/processes.ts'
import { ApiServerProcess, adminToken, guestToken, noApiServer } from './apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const program = fileURLToPath(new URL('../../bin/lightpath', import.meta.url))
const silent = createServer(socket => socket.on('error', () => {}))
let silentPort: number

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  silentPort = (silent.address() as AddressInfo).port
})

after(async () => {
  silent.close()
  await server.stop()
})

const commands = [
  ['verify', '--node-name', 'node1'],
  ['adopt'],
  ['preflight', '--node-name', 'node1'],
  ['preflight', '--all-nodes', '--image', 'lightpath'],
  ['top', '--once'],
  ['check'],
] as const

const situations = [
  [
    'without rights',
    () => server.kubeconfig('guest', `token: ${guestToken}`),
    /forbidden: User "guest" cannot (get|list|watch)/,
  ],
  ['with a token that is not known', () => server.kubeconfig('stranger', 'token: stranger'), /nauthorized/],
  ['where the API is down', () => server.kubeconfig('down', 'token: x', 1), /not reachable: .*ECONNREFUSED/],
  ['where the API says nothing', () => server.kubeconfig('silent', 'token: x', silentPort), /not reachable: .* \d+ s/],
  ['without a kubeconfig', () => '/nonexistent', /kubeconfig \/nonexistent cannot be read: ENOENT/],
] as const

for (const [what, kubeconfig, words] of situations) {
  // All at once: where the API says nothing each waits ten seconds.
  describe(what, { ...options, concurrency: commands.length }, () => {
    let file: string
    before(() => {
      file = kubeconfig()
    })

    for (const [command, ...args] of commands) {
      test(`${[command, ...args].join(' ')} says so in a line, and its exit code is not 0`, async () => {
        const { code, stdout, stderr } = await run(program, [command, ...args, '--kubeconfig', file], {
          timeoutMs: 30_000,
        })
        assert.ok(code === 1 || code === 2, String(code))
        assert.equal(stdout, '')
        const said = stderr.split('\n').filter(line => !line.includes(' looks at '))
        assert.equal(said.length, 2, stderr)
        assert.match(stderr, words)
      })
    }
  })
}

test('preflight --all-nodes asks for what nobody tells it, and refuses what nodes cannot see', options, async () => {
  const admin = server.kubeconfig('admin', `token: ${adminToken}`)
  const unknown = await run(program, ['preflight', '--all-nodes', '--kubeconfig', admin])
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /name the image of Lightpath, as the nodes can pull it or have it, by --image/)
  const local = await run(program, ['preflight', '--all-nodes', '--source', 'examples', '--kubeconfig', admin])
  assert.match(local.stderr, /--source is of this machine and does not reach the nodes/)
  assert.equal(local.code, 2)
})

test('preflight --all-nodes that may make no pods says so, and its namespace is removed', options, async () => {
  await server.must('POST', '/api/v1/nodes', { metadata: { name: 'node1', labels: { 'kubernetes.io/os': 'linux' } } })
  const status = { conditions: [{ type: 'Ready', status: 'True' }] }
  await server.must('PATCH', '/api/v1/nodes/node1/status', { status })
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  const metadata = { name: 'no-pods' }
  const rules = [
    { apiGroups: [''], resources: ['nodes'], verbs: ['list'] },
    { apiGroups: [''], resources: ['namespaces'], verbs: ['create', 'delete'] },
  ]
  await server.must('POST', `${rbac}/clusterroles`, { metadata, rules })
  await server.must('POST', `${rbac}/clusterrolebindings`, {
    metadata,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'no-pods' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'guest' }],
  })
  const guest = server.kubeconfig('guest', `token: ${guestToken}`)
  const { code, stderr } = await run(program, ['preflight', '--all-nodes', '--image', 'x', '--kubeconfig', guest])
  assert.equal(code, 1)
  assert.match(stderr, /pods is forbidden: User "guest" cannot create .*; looking at all nodes takes the rights to/)
  const { items } = await server.must('GET', '/api/v1/namespaces')
  const left = (items as { metadata: { name: string; deletionTimestamp?: string } }[])
    .map(({ metadata }) => metadata)
    .filter(({ name, deletionTimestamp }) => name.startsWith('lightpath-preflight-') && deletionTimestamp === undefined)
  assert.deepEqual(left, [])
  await server.must('DELETE', `${rbac}/clusterrolebindings/no-pods`)
})

test('verify and adopt do not compare or hand over what there is not', options, async () => {
  const admin = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
  const verified = await run(program, ['verify', '--node-name', 'nobody', ...admin])
  assert.equal(verified.code, 2)
  assert.match(verified.stderr, /there is no Node nobody in the cluster; say with --node-name/)
  const adopted = await run(program, ['adopt', 'nowhere', ...admin])
  assert.deepEqual([adopted.code, adopted.stderr], [1, 'lightpath adopt: there is no namespace nowhere\n'])
})
