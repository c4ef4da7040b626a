/** Real API servers, and a source of Services that follows one of them through a proxy. */

import assert from 'node:assert/strict'
import { after, before, type TestContext } from 'node:test'
import type { Log } from '../../../src/observe/log.ts'
import type { Service } from '../../../src/services/objects/service.ts'
import { kubernetesSource } from '../../../src/sources/kubernetes.ts'
import type { Source } from '../../../src/sources/source.ts'
import { RecordingListener, silentLog, until } from '../../../src/sources/testing.ts'
import { ApiServerProcess, adminToken, noApiServer } from '../apiserver.ts'
import { TcpProxy } from '../tcp-proxy.ts'

export const options = { skip: noApiServer, timeout: 120_000 }
export const server = new ApiServerProcess()
/** A server that cannot begin a watch with a list, as those before Kubernetes 1.32. */
export const paging = new ApiServerProcess(['--feature-gates=WatchList=false,ListFromCacheSnapshot=false'])

before(async () => {
  if (noApiServer === undefined) await Promise.all([server.start(), paging.start()])
})

after(async () => {
  await Promise.all([server.stop(), paging.stop()])
})

export const services = '/api/v1/namespaces/default/services'
export const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'

export const service = (name: string, port = 80) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, annotations: { 'config.lightpath.cloud/http-num-retries': '1', unused: 'x'.repeat(1000) } },
  spec: { ports: [{ name: 'http', port }] },
})

export const slice = (name: string, ...ips: readonly string[]) => ({
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
export async function follow(t: TestContext, options: FollowOptions = {}): Promise<Followed> {
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
export async function agrees({ api, listener }: Followed): Promise<void> {
  const { items } = await api.must('GET', '/api/v1/services')
  const there = (items as { metadata: { namespace: string; name: string } }[]).map(
    ({ metadata }) => `Service ${metadata.namespace}/${metadata.name}`,
  )
  const known = [...listener.objects.keys()].filter(key => key.startsWith('Service '))
  assert.deepEqual(known.sort(), there.sort())
  assert.deepEqual(listener.phantoms, [])
  assert.equal(listener.timesSynced, 1)
}
