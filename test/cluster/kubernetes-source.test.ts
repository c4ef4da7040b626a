import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { waitFor } from '../../src/lab/wait.ts'
import type { Log } from '../../src/observe/log.ts'
import type { EndpointSlice } from '../../src/services/objects/endpointslice.ts'
import type { Service } from '../../src/services/objects/service.ts'
import { kubernetesSource } from '../../src/sources/kubernetes.ts'
import type { Source } from '../../src/sources/source.ts'
import { RecordingListener, silentLog, until } from '../../src/sources/testing.ts'
import { ApiServerProcess, adminToken, guestToken, noApiServer } from './apiserver.ts'
import { TcpProxy } from './tcp-proxy.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
/** A server that cannot begin a watch with a list, as those before Kubernetes 1.32. */
const paging = new ApiServerProcess(['--feature-gates=WatchList=false,ListFromCacheSnapshot=false'])

before(async () => {
  if (noApiServer === undefined) await Promise.all([server.start(), paging.start()])
})

after(async () => {
  await Promise.all([server.stop(), paging.stop()])
})

const services = '/api/v1/namespaces/default/services'
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'

const service = (name: string, port = 80) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, annotations: { 'config.lightpath.cloud/http-num-retries': '1', unused: 'x'.repeat(1000) } },
  spec: { ports: [{ name: 'http', port }] },
})

const slice = (name: string, ...ips: readonly string[]) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, labels: { 'kubernetes.io/service-name': name } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: ips.map(ip => ({ addresses: [ip], conditions: { ready: true }, nodeName: 'node1', zone: 'a' })),
})

interface Followed {
  readonly source: Source
  readonly api: ApiServerProcess
  readonly listener: RecordingListener
  readonly proxy: TcpProxy
  /** What the source has logged of each resource, such as `Service 410` (failed with) or `Service pages` (listed by). */
  readonly log: readonly string[]
  /** What the watch of Services waits after each failure, and when it began to. */
  readonly pauses: readonly { readonly ms: number; readonly code: number | undefined; readonly began: number }[]
  /** Waits until the Service has this port; undefined for no such Service. */
  shows(name: string, port: number | undefined): Promise<void>
}

interface FollowOptions {
  readonly api?: ApiServerProcess
  /** Of the kubeconfig's user, in YAML. */
  readonly credentials?: string
  readonly quietMs?: number
  readonly synced?: boolean
  /** How long each connection waits before a byte goes through. */
  readonly delayMs?: number
}

/** A source behind a proxy, followed until the test is over; the objects that the test makes are its own to name. */
async function follow(t: TestContext, options: FollowOptions = {}): Promise<Followed> {
  const { api = server, credentials = `token: ${adminToken}`, quietMs, synced = true, delayMs = 0 } = options
  const proxy = new TcpProxy(api.port)
  const kubeconfig = api.kubeconfig(t.name.replace(/\W+/g, '-'), credentials, await proxy.start())
  proxy.delayMs = delayMs
  const logged: string[] = []
  const pauses: { ms: number; code: number | undefined; began: number }[] = []
  const log: Log = {
    ...silentLog,
    debug: ({ kind, code, by, waitMs }) => {
      logged.push(`${kind} ${code ?? by}`)
      if (kind === 'Service' && typeof waitMs === 'number')
        pauses.push({ ms: waitMs, code: code as number | undefined, began: performance.now() })
    },
    info: ({ kind }, message) => logged.push(`${kind} ${message}`),
  }
  const source = kubernetesSource({ kubeconfig, nodeName: 'node1', log, ...(quietMs && { quietMs }) })
  const listener = new RecordingListener()
  t.after(async () => {
    await source.stop()
    await proxy.stop()
  })
  await source.start(listener)
  if (synced)
    await until(
      () => listener.timesSynced === 1,
      () => listener.told().join('\n'),
      30_000,
    )
  const portOf = (name: string) =>
    (listener.objects.get(`Service default/${name}`) as Service | undefined)?.ports[0]?.port
  return {
    source,
    api,
    listener,
    proxy,
    log: logged,
    pauses,
    shows: (name, port) =>
      until(
        () => portOf(name) === port,
        () => `${name}: ${portOf(name)} instead of ${port}; ${listener.told()}`,
        60_000,
      ),
  }
}

/** What the listener knows is what the server has, and it was never told of a change that was none. */
async function agrees({ api, listener }: Followed): Promise<void> {
  const { items } = await api.must('GET', '/api/v1/services')
  const there = (items as { metadata: { namespace: string; name: string } }[]).map(
    ({ metadata }) => `Service ${metadata.namespace}/${metadata.name}`,
  )
  const known = [...listener.objects.keys()].filter(key => key.startsWith('Service '))
  assert.deepEqual(known.sort(), there.sort())
  assert.deepEqual(listener.phantoms, [])
  assert.equal(listener.timesSynced, 1)
}

test('what exists is told, then that it is all, then each change', options, async t => {
  await server.must('POST', services, service('first'))
  await server.must('POST', slices, slice('first', '10.1.0.1', '10.1.0.2'))
  for (const name of ['node1', 'node2']) {
    const metadata = { name, labels: { 'topology.kubernetes.io/zone': 'a' } }
    await server.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata })
  }
  const followed = await follow(t)
  const { listener, shows } = followed
  const first = listener.objects.get('Service default/first') as Service
  assert.deepEqual(first.annotations, { 'config.lightpath.cloud/http-num-retries': '1' })
  assert.equal(first.clusterIPs.length, 1)
  const endpoints = (listener.objects.get('EndpointSlice default/first') as EndpointSlice).endpoints
  assert.deepEqual(
    endpoints.map(endpoint => endpoint.ip),
    ['10.1.0.1', '10.1.0.2'],
  )
  assert.ok(listener.objects.has('Namespace default'))
  assert.ok(listener.objects.has('Node node1'))
  assert.ok(!listener.objects.has('Node node2'), 'only the own node is watched')

  await server.must('PATCH', `${services}/first`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await shows('first', 81)
  await server.must('POST', services, service('second'))
  await shows('second', 80)
  await server.must('DELETE', `${services}/second`)
  await shows('second', undefined)
  await agrees(followed)
})

test('policies are told, and the pods of the own node and of the namespaces that are needed', options, async t => {
  const policies = '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies'
  const policy = (name: string, policyTypes: readonly string[]) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes },
  })
  await server.must('POST', policies, policy('out', ['Egress']))
  await server.must('POST', policies, policy('in', ['Ingress']))
  await server.must('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } })
  for (const node of ['node1', 'node2']) {
    const metadata = { name: `on-${node}`, labels: { app: 'web' } }
    const spec = { nodeName: node, containers: [{ name: 'web', image: 'web' }] }
    await server.must('POST', '/api/v1/namespaces/default/pods', { apiVersion: 'v1', kind: 'Pod', metadata, spec })
    const status = { phase: 'Running', podIP: '10.1.0.7', podIPs: [{ ip: '10.1.0.7' }] }
    await server.must('PATCH', `/api/v1/namespaces/default/pods/on-${node}/status`, { status })
  }
  const { source, listener } = await follow(t)
  const told = (kind: string) => [...listener.objects.values()].filter(object => object.kind === kind)
  const pods = () => told('Pod').map(({ name }) => name)
  const podSelector = { matchLabels: { app: 'web' }, matchExpressions: [] }
  const inDefault = { kind: 'NetworkPolicy', namespace: 'default', podSelector }
  assert.deepEqual(
    told('NetworkPolicy').sort((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { ...inDefault, name: 'in', restricts: ['ingress'] },
      { ...inDefault, name: 'out', restricts: ['egress'] },
    ],
  )
  assert.deepEqual(told('Pod'), [
    {
      kind: 'Pod',
      namespace: 'default',
      name: 'on-node1',
      // The API server adds the zone of the node.
      labels: { app: 'web', 'topology.kubernetes.io/zone': 'a' },
      nodeName: 'node1',
      addresses: ['10.1.0.7'],
    },
  ])
  const shows = (what: string, ...names: readonly string[]) =>
    until(
      () => pods().sort().join() === names.join(),
      () => `${what}: ${pods()}`,
    )
  source.needPods!(new Set(['default']))
  await shows('one namespace', 'on-node1', 'on-node2')
  source.needPods!(new Set())
  await shows('none', 'on-node1')
  source.needPods!(new Set(Array.from({ length: 20 }, (_, index) => `n${index}`)))
  await shows('so many that all are watched', 'on-node1', 'on-node2')
  await server.must('DELETE', '/api/v1/namespaces/default/pods/on-node1?gracePeriodSeconds=0')
  await shows('one is gone', 'on-node2')
  assert.deepEqual(listener.phantoms, [])
})

test('a change that touches nothing that is used is no change', options, async t => {
  await server.must('POST', services, service('status'))
  const { listener, shows } = await follow(t)
  listener.history.length = 0
  await server.must('PATCH', `${services}/status`, { metadata: { annotations: { unused: 'y' }, labels: { app: 'z' } } })
  await server.must('PATCH', `${services}/status`, { spec: { ports: [{ name: 'http', port: 82 }] } })
  await shows('status', 82)
  assert.deepEqual(listener.history, ['put Service default/status'])
})

test('a slice that loses its Service is removed', options, async t => {
  await server.must('POST', slices, slice('lost', '10.1.0.1'))
  const { listener } = await follow(t)
  await server.must('PATCH', `${slices}/lost`, { metadata: { labels: { 'kubernetes.io/service-name': null } } })
  await until(
    () => !listener.objects.has('EndpointSlice default/lost'),
    () => 'still there',
  )
})

test('connections that are cut again and again miss no change and are no trouble', options, async t => {
  const followed = await follow(t)
  const { listener, proxy, shows } = followed
  await server.must('POST', services, service('cut', 1000))
  for (let port = 1001; port <= 1010; port++) {
    proxy.cut()
    await server.must('PATCH', `${services}/cut`, { spec: { ports: [{ name: 'http', port }] } })
    if (port % 3 === 0) await shows('cut', port)
  }
  await shows('cut', 1010)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  await agrees(followed)
})

test('a connection on which nothing arrives any more is replaced', options, async t => {
  const followed = await follow(t, { quietMs: 1500 })
  const { listener, proxy, shows } = followed
  proxy.stall()
  await server.must('POST', services, service('stalled'))
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
    30_000,
  )
  assert.match(
    listener.told()[0]!,
    /LP105 Kubernetes API https:\S+: not reachable: the connection has been silent for 2 s/,
  )
  assert.equal(listener.told().length, 1, 'one for all resources')
  proxy.pass()
  await shows('stalled', 80)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
    60_000,
  )
  await agrees(followed)
})

test(
  'a server killed and started again, with changes made around it, leaves no change missed or told twice',
  options,
  async t => {
    for (const name of ['kept', 'changed', 'deleted', 'recreated']) await server.must('POST', services, service(name))
    const followed = await follow(t)
    const { listener, proxy, shows } = followed
    listener.history.length = 0
    proxy.stall()
    await server.must('PATCH', `${services}/changed`, { spec: { ports: [{ name: 'http', port: 81 }] } })
    await server.must('DELETE', `${services}/deleted`)
    await server.must('DELETE', `${services}/recreated`)
    await server.must('POST', services, service('recreated', 81))
    await server.killServer()
    proxy.cut()
    proxy.pass()
    await until(
      () => listener.told().length > 0,
      () => 'no trouble told',
    )
    assert.match(listener.told()[0]!, /LP105 .*not reachable: .*; what is known stays, and it is tried again/)
    await server.startServer()
    await server.must('POST', services, service('after'))
    await shows('after', 80)
    await shows('changed', 81)
    await shows('deleted', undefined)
    await shows('recreated', 81)
    await until(
      () => listener.told().length === 0,
      () => listener.told().join('\n'),
    )
    assert.ok(!listener.history.includes('put Service default/kept'), 'what did not change is not told')
    await agrees(followed)
  },
)

test('a version that the server has forgotten leads to a list that tells only what changed', options, async t => {
  for (const name of ['g-kept', 'g-changed', 'g-deleted', 'g-recreated'])
    await server.must('POST', services, service(name))
  const followed = await follow(t)
  const { listener, proxy, shows, log } = followed
  listener.history.length = 0
  proxy.stall()
  await server.must('PATCH', `${services}/g-changed`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await server.must('DELETE', `${services}/g-deleted`)
  await server.must('DELETE', `${services}/g-recreated`)
  await server.must('POST', services, service('g-recreated', 81))
  await server.compact()
  await server.killServer()
  await server.startServer()
  proxy.cut()
  proxy.pass()
  await shows('g-changed', 81)
  await shows('g-deleted', undefined)
  await shows('g-recreated', 81)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  assert.deepEqual(listener.history.filter(line => line.includes('default/g-')).sort(), [
    'put Service default/g-changed',
    'put Service default/g-recreated',
    'remove Service default/g-deleted',
  ])
  assert.ok(log.includes('Service 410'), log.join())
  await agrees(followed)
})

test('a server that was away for long is asked as soon as it is ready, and lists again at once', options, async t => {
  await server.must('POST', services, service('away'))
  const followed = await follow(t)
  const { pauses, shows, listener, proxy } = followed
  proxy.stall()
  await server.must('PATCH', `${services}/away`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await server.compact()
  await server.killServer()
  proxy.cut()
  proxy.pass()
  await until(
    () => (pauses.at(-1)?.ms ?? 0) > 8000,
    () => `${pauses.map(({ ms }) => ms)}`,
    60_000,
  )
  const { began, ms } = pauses.at(-1)!
  const before = pauses.length
  await server.startServer()
  await shows('away', 81)
  assert.ok(performance.now() < began + ms, `not before the pause of ${ms} ms was over`)
  const forgotten = pauses.slice(before).filter(({ code }) => code === 410)
  assert.equal(forgotten.length, 1)
  assert.ok(forgotten[0]!.ms <= 200, `the list waited ${forgotten[0]!.ms} ms`)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  await agrees(followed)
})

test(
  '2,000 objects are read as a stream and in pages, and nothing is told twice when they are listed again',
  options,
  async t => {
    for (const api of [server, paging]) {
      const names = Array.from({ length: 2000 }, (_, i) => `many-${i}`)
      for (let i = 0; i < names.length; i += 20) {
        await Promise.all(names.slice(i, i + 20).map(name => api.must('POST', slices, slice(name, '10.1.0.1'))))
      }
      const followed = await follow(t, { api })
      const { listener, proxy, shows } = followed
      const known = () =>
        [...listener.objects.keys()].filter(key => key.startsWith('EndpointSlice default/many-')).length
      assert.equal(known(), 2000)
      listener.history.length = 0
      proxy.stall()
      await api.must('DELETE', `${slices}/many-7`)
      await api.must('POST', services, service('paged'))
      await api.compact()
      await api.killServer()
      await api.startServer()
      proxy.cut()
      proxy.pass()
      await shows('paged', 80)
      await until(
        () => known() === 1999,
        () => `${known()} slices`,
      )
      assert.deepEqual(
        listener.history.filter(line => line.includes('Slice')),
        ['remove EndpointSlice default/many-7'],
      )
      await agrees(followed)
    }
  },
)

test('a list whose pages outlive their version is read in one piece', options, async t => {
  const { items } = await paging.must('GET', slices)
  assert.ok((items as unknown[]).length > 1000, 'the test before made them')
  // Whichever connection a page comes over, versions are gone faster than the next page can be asked for.
  const followed = await follow(t, { api: paging, synced: false, delayMs: 500 })
  const { listener, log } = followed
  for (let n = 1998; n > 1000 && !log.includes('EndpointSlice 410'); n--) {
    await paging.must('DELETE', `${slices}/many-${n}`)
    await paging.compact()
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
  assert.deepEqual(
    log.filter(line => /^EndpointSlice (410|whole|pages)$/.test(line)),
    ['EndpointSlice 410', 'EndpointSlice whole'],
  )
  assert.ok(listener.objects.has('EndpointSlice default/many-1999'))
  assert.ok(!listener.objects.has('EndpointSlice default/many-1998'))
  await agrees(followed)
})

test(
  'missing rights are told with verb and resource, and are over when they are granted; ServiceCIDRs can be done without',
  options,
  async t => {
    const { listener } = await follow(t, { credentials: `token: ${guestToken}`, synced: false })
    await until(
      () => listener.told().length === 7,
      () => listener.told().join('\n'),
    )
    const told = listener.told().join('\n')
    assert.match(
      told,
      /LP105 .*403.*"guest" cannot watch resource "services".*grant list and watch on services in a Cluster/,
    )
    assert.match(
      told,
      /cannot watch resource "endpointslices".*grant list and watch on endpointslices of discovery.k8s.io/,
    )
    const metadata = { name: 'guests-watch' }
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    const rules = [
      { apiGroups: [''], resources: ['services', 'namespaces', 'nodes', 'pods'], verbs: ['list', 'watch'] },
      { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ]
    const apiVersion = 'rbac.authorization.k8s.io/v1'
    await server.must('POST', `${rbac}/clusterroles`, { apiVersion, kind: 'ClusterRole', metadata, rules })
    await server.must('POST', `${rbac}/clusterrolebindings`, {
      ...{ apiVersion, kind: 'ClusterRoleBinding', metadata },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'guests-watch' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'guest' }],
    })
    await until(
      () => listener.timesSynced === 1,
      () => listener.told().join('\n'),
      60_000,
    )
    assert.match(listener.told().join('\n'), /^LP105 [^\n]*servicecidrs[^\n]*$/)
    rules.push({ apiGroups: ['networking.k8s.io'], resources: ['servicecidrs'], verbs: ['list', 'watch'] })
    await server.must('PUT', `${rbac}/clusterroles/guests-watch`, { apiVersion, kind: 'ClusterRole', metadata, rules })
    await until(
      () => listener.told().length === 0,
      () => listener.told().join('\n'),
      60_000,
    )
  },
)

test('a token file is read again when its token is refused', options, async t => {
  writeFileSync(join(server.directory, 'token'), 'expired')
  const { listener } = await follow(t, { credentials: 'tokenFile: token', synced: false })
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
  )
  assert.match(listener.told()[0]!, /LP105 .*credentials refused \(401\).*renew token or certificate/)
  writeFileSync(join(server.directory, 'token'), adminToken)
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
  assert.deepEqual(listener.told(), [])
})

test('a kubeconfig that is not there is told, and used when it comes', options, async t => {
  const kubeconfig = join(server.directory, 'late.kubeconfig')
  const source = kubernetesSource({ kubeconfig, nodeName: 'node1', log: silentLog })
  const listener = new RecordingListener()
  t.after(() => source.stop())
  await source.start(listener)
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
  )
  assert.match(listener.told()[0]!, /LP105 Kubernetes API: .*ENOENT.*late\.kubeconfig/)
  server.kubeconfig('late', `token: ${adminToken}`)
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
})

test('an object of the API that is wrong for us is told under its name until it is right', options, async t => {
  const { listener } = await follow(t)
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'zero', port: 0 },
  ]
  await server.must('POST', slices, { ...slice('wrong', '10.1.0.1'), ports })
  await until(
    () => listener.told().length > 0,
    () => 'no problem told',
  )
  assert.deepEqual([...listener.troubles.keys()], ['kubernetes EndpointSlice default/wrong'])
  assert.match(listener.told()[0]!, /LP221 EndpointSlice default\/wrong: ports\[1\]\.port 0 is no port/)
  await server.must('PATCH', `${slices}/wrong`, { ports: ports.slice(0, 1) })
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
})

test(
  'policies of a network plugin are told where the API has them, and where they may not be read one stands for all',
  options,
  async t => {
    const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
    const names = { kind: 'CiliumNetworkPolicy', plural: 'ciliumnetworkpolicies', singular: 'ciliumnetworkpolicy' }
    await server.must('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'ciliumnetworkpolicies.cilium.io' },
      spec: {
        group: 'cilium.io',
        scope: 'Namespaced',
        names,
        versions: [{ name: 'v2', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    })
    const apiVersion = 'cilium.io/v2'
    const policy = { apiVersion, kind: 'CiliumNetworkPolicy', metadata: { name: 'closed' }, spec: { ingress: [{}] } }
    const path = '/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies'
    await waitFor('the API of the plugin', 20_000, () => server.must('POST', path, policy).catch(() => undefined))
    const kind = 'CiliumNetworkPolicy.cilium.io'
    const told = ({ objects }: RecordingListener) => [...objects.values()].filter(object => object.kind === kind)
    const { listener } = await follow(t)
    assert.deepEqual(told(listener), [{ kind, namespace: 'default', name: 'closed', restricts: ['ingress'] }])

    const guest = await follow(t, { credentials: `token: ${guestToken}` })
    assert.deepEqual(told(guest.listener), [
      { kind, namespace: '', name: '(unreadable)', restricts: ['ingress', 'egress'] },
    ])
    assert.match(guest.listener.told().join(), /grant list and watch on ciliumnetworkpolicies of cilium\.io/)
  },
)
