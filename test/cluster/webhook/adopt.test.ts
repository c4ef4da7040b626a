import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { kubernetesApi } from '../../../src/cluster/api.ts'
import { run } from '../../../src/lab/processes.ts'
import { namespaces, serviceOf, vectors } from '../../../src/services/handover/vectors.ts'
import { findServices, move } from '../../../src/webhook/adopt.ts'
import { ApiServerProcess, adminToken, guestToken, noApiServer } from '../apiserver.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const proxyName = 'service.kubernetes.io/service-proxy-name'
const ours = 'lightpath.cloud'
const agents = new URL('../../../deploy/node/daemonset.yaml', import.meta.url)
const pods = '/api/v1/namespaces/lightpath-system/pods'

const nameOf = (i: number) => `vector-${i}`
const indices = [...vectors.keys()]
const pathOf = (i: number) => `/api/v1/namespaces/${vectors[i]!.namespace}/services/${nameOf(i)}`
/** Those that admission would have labelled, and that nobody has. */
const missed = indices.filter(i => vectors[i]!.expected === ours && vectors[i]!.labels?.[proxyName] === undefined)

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await server.makeNamespaces(namespaces)
  for (const i of indices) {
    const path = pathOf(i).replace(/\/[^/]*$/, '')
    await server.must('POST', path, serviceOf(vectors[i]!, nameOf(i)))
  }
  await server.must('POST', '/api/v1/nodes', { metadata: { name: 'node1', labels: { 'kubernetes.io/os': 'linux' } } })
  await server.must('POST', pods.replace(/pods$/, 'serviceaccounts'), { metadata: { name: 'default' } })
})

after(async () => {
  await server.stop()
})

test('adopt lists the Services that admission missed, and no other, and changes nothing', options, async () => {
  const before = await proxyNames()
  const { services, nodes } = await adoptJson()
  const rows = services.filter(({ result }) => result === 'to be moved')
  assert.deepEqual(names(rows), missed.map(i => `${vectors[i]!.namespace}/${nameOf(i)}`).sort())
  assert.deepEqual(nodes, { nodes: 1, without: ['node1'] })
  assert.deepEqual(await proxyNames(), before)
})

test('adopt says what will happen, to which Services, and why a named one is left', options, async () => {
  const { code, stdout } = await adopt(['shop/vector-0', 'shop/vector-7'])
  assert.equal(code, 0)
  assert.match(stdout, /^shop +vector-0 +ClusterIP +10\.96\S+ +to be handed to Lightpath$/m)
  assert.match(stdout, /^shop +vector-7 .* left: label lightpath\.cloud\/proxy: disabled$/m)
  assert.match(stdout, /^Services to be handed to Lightpath: 1$/m)
  assert.match(stdout, /kube-proxy then takes its\nrules for it away/)
  assert.match(stdout, /1 of 1 nodes have no ready pod .*\(node1\)/)
  assert.match(stdout, /Nothing was changed; --yes does it\./)
})

test(
  'adopt --yes refuses where a node has no agent that would serve the Services, unless --force',
  options,
  async () => {
    const before = await proxyNames()
    const refused = await adopt(['--yes', 'shop/vector-0'])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /^lightpath adopt: 1 of 1 nodes have no ready pod .*--force goes on\n$/)
    assert.deepEqual(await proxyNames(), before)
    const forced = await adopt(['--yes', '--force', 'shop/vector-0'])
    assert.match(forced.stdout, /^Services handed to Lightpath: 1$/m)
    assert.equal((await proxyNames())[0], ours)
  },
)

test(
  'adopt --yes hands over what admission missed, once agents are ready, and leaves the others',
  options,
  async () => {
    await server.must('POST', pods, {
      metadata: {
        name: 'agent',
        labels: parse(readFileSync(agents, 'utf8')).spec.template.metadata.labels,
      },
      spec: { nodeName: 'node1', containers: [{ name: 'a', image: 'a' }] },
    })
    assert.equal((await adopt(['--yes'])).code, 1, 'a pod that is not ready serves nobody')
    await server.must('PATCH', `${pods}/agent/status`, { status: { conditions: [{ type: 'Ready', status: 'True' }] } })
    const { code, stdout } = await adopt(['--yes'])
    assert.equal(code, 0)
    assert.match(stdout, /^Services handed to Lightpath: \d+; \d+ more left as they are/m)
    assert.deepEqual(
      await proxyNames(),
      vectors.map(({ expected }) => expected),
    )
    assert.match((await adopt([])).stdout, /^Services to be handed to Lightpath: 0;/)
  },
)

test(
  'adopt --back of a namespace takes the label from its Services and leaves those of other proxies',
  options,
  async () => {
    assert.equal((await adopt(['--back', '--yes', 'shop'])).code, 0)
    const expected = vectors.map(v => (v.namespace === 'shop' && v.expected === ours ? undefined : v.expected))
    assert.deepEqual(await proxyNames(), expected)
    assert.equal((await adopt(['--back', '--yes'])).code, 0)
    const others = vectors.map(v => (v.expected === ours ? undefined : v.expected))
    assert.deepEqual(await proxyNames(), others)
  },
)

test('a Service that changes while it is handed over keeps what it says now', options, async () => {
  const ask = kubernetesApi(server.kubeconfig('user', `token: ${adminToken}`))
  const found = (await findServices(ask, 'over', 'shop')).find(({ name }) => name === nameOf(0))!
  await server.must('PATCH', pathOf(0), { metadata: { labels: { 'lightpath.cloud/proxy': 'disabled' } } })
  await assert.rejects(move(ask, 'over', found), /it was changed at the same time/)
  assert.equal((await proxyNames())[0], undefined)
})

test('adopt finds more Services than the API server tells at once', options, async () => {
  await server.makeNamespaces({ many: {} })
  const create = (i: number) =>
    server.must('POST', '/api/v1/namespaces/many/services', serviceOf(vectors[0]!, `many-${i}`))
  for (let i = 0; i < 1010; i += 10) await Promise.all(Array.from({ length: 10 }, (_, j) => create(i + j)))
  const { stdout } = await adopt(['--yes', 'many'])
  assert.match(stdout, /^Services handed to Lightpath: 1010$/m)
  assert.match((await adopt(['many'])).stdout, /^Services to be handed to Lightpath: 0; 1010 more left/m)
})

test('adopt says what is wrong in one line', options, async () => {
  assert.deepEqual(await adopt(['shop/none']), {
    code: 1,
    stdout: '',
    stderr: 'lightpath adopt: there is no Service shop/none\n',
  })
  const noName = await adopt(['a/b/c'])
  assert.deepEqual([noName.code, noName.stderr], [2, 'lightpath adopt: "a/b/c" is not NAMESPACE or NAMESPACE/NAME\n'])
  const denied = await adopt([], guestToken)
  assert.equal(denied.code, 1)
  assert.match(denied.stderr, /^lightpath adopt: GET .*namespaces is forbidden: User "guest"[^\n]*\n$/)
})

function adopt(args: readonly string[], token = adminToken) {
  const program = fileURLToPath(new URL('../../../bin/lightpath', import.meta.url))
  return run(program, ['adopt', '--kubeconfig', server.kubeconfig('user', `token: ${token}`), ...args], {
    timeoutMs: 60_000,
  })
}

interface Answer {
  readonly services: readonly { readonly namespace: string; readonly name: string; readonly result: string }[]
  readonly nodes: unknown
}

async function adoptJson(): Promise<Answer> {
  return JSON.parse((await adopt(['--output', 'json'])).stdout)
}

function names(rows: Answer['services']): readonly string[] {
  return rows.map(({ namespace, name }) => `${namespace}/${name}`)
}

/** Of each vector's Service, the label as it is now. */
async function proxyNames(): Promise<readonly (string | undefined)[]> {
  const found: (string | undefined)[] = []
  for (const i of indices) {
    const { metadata } = await server.must('GET', pathOf(i))
    found.push((metadata as { labels?: Record<string, string> }).labels?.[proxyName])
  }
  return found
}
