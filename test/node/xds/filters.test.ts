/** The filters that Envoy gets by themselves (ECDS): those of a Service port's own connections, and the one that listeners share. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { socketAddress } from '../../../src/envoy/address.ts'
import { AddressSchema } from '../../../src/envoy/api/envoy/config/core/v3/address_pb.js'
import { AdditionalAddressSchema, ListenerSchema } from '../../../src/envoy/api/envoy/config/listener/v3/listener_pb.js'
import { duration } from '../../../src/envoy/encoding.ts'
import { type Resource, typeUrls } from '../../../src/envoy/resource.ts'
import { configurationOf, resourcesOf } from '../../../src/envoy/resources/resources.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import { client, httpEndpoint, servicePort } from '../envoy/envoy.ts'
import { withManager } from '../envoy/managers.ts'
import { type Envoy, until, type XdsLab } from './lab.ts'
import { hasAll, promptSeconds, withEnvoys } from './services.ts'

const hour = 3600e3
const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** All of the Service port but its scope; its listener is bound, so that clients connect to it. */
function boundResources(port: PortState, idleTimeout: number): readonly Resource[] {
  const frontend = { ...port, settings: { ...port.settings, idleTimeout } }
  return resourcesOf(frontend)
    .filter(({ typeUrl }) => typeUrl !== typeUrls.scope)
    .map(bindListener)
}

/** All of Service ports that share a listener, which is bound at all of `bound`, with this idle-timeout of its filter. */
function sharedResources(ports: readonly PortState[], idleTimeout: number, bound = ports): readonly Resource[] {
  return configurationOf(ports).map(bindShared(bound)).map(withIdleTimeout(idleTimeout))
}

const bindShared = (ports: readonly PortState[]) => (resource: Resource) => {
  if (!resource.name.startsWith('shared-')) return resource
  const [address, ...more] = ports.map(({ vip, port }) => create(AddressSchema, socketAddress(vip, port.port)))
  const listener = fromBinary(ListenerSchema, resource.encode())
  const additionalAddresses = more.map(address => create(AdditionalAddressSchema, { address }))
  const bytes = toBinary(ListenerSchema, {
    ...listener,
    address: address!,
    additionalAddresses,
    transparent: undefined,
  })
  return { ...resource, encode: () => bytes }
}

const withIdleTimeout = (ms: number) =>
  withManager(`idle ${ms}`, () => ({
    commonHttpProtocolOptions: { idleTimeout: duration(ms) },
    drainTimeout: duration(1000),
  }))

/** What follows a router is refused, once Envoy makes the filter. */
const withTwoRouters = withManager('two routers', ({ httpFilters }) => ({ httpFilters: httpFilters.slice(-1) }))

function bindListener(resource: Resource): Resource {
  return resource.typeUrl === typeUrls.listener ? { ...resource, encode: () => bound(resource) } : resource
}

function bound({ encode }: Resource): Uint8Array {
  const listener = { ...fromBinary(ListenerSchema, encode()), bindToPort: undefined }
  return toBinary(ListenerSchema, create(ListenerSchema, listener))
}

/** Has Envoy acknowledge all of it. */
async function serveIn(lab: XdsLab, resources: readonly Resource[]): Promise<void> {
  lab.store.update({ put: resources })
  await until('all acknowledged', () => hasAll(lab, resources), promptSeconds)
}

async function statistic(envoy: Envoy, name: string): Promise<number> {
  return Number(/: (\d+)/.exec(await envoy.get(`/stats?filter=^${name}$`))?.[1])
}

async function allocated(envoy: Envoy): Promise<number> {
  return Number(JSON.parse(await envoy.get('/memory')).allocated)
}

/** A Service port with an endpoint that answers. */
async function answeringPort(t: TestContext): Promise<PortState> {
  const { port } = await httpEndpoint(t, (_, response) => response.end('ok'))
  return servicePort('web', 'http', [port])
}

test('idle-timeout changes again and again: open connections stay as they are, new ones have the last, and nothing stays in Envoy', async t => {
  const port = await answeringPort(t)
  await withEnvoys(1, async (lab, [envoy]) => {
    await serveIn(lab, boundResources(port, hour))
    const old = await client(t, port.port.port)
    old.send(request)
    await old.until('ok')
    const before = await allocated(envoy!)
    const changes = 60
    for (let i = 1; i <= changes; i++) await serveIn(lab, boundResources(port, hour + i))
    const growth = (await allocated(envoy!)) - before
    assert.ok(growth < changes * 4000, `${growth} bytes more`)
    await serveIn(lab, boundResources(port, 3000))
    const brief = await client(t, port.port.port)
    brief.send(request)
    assert.match(await brief.untilEnd(), /ok/)
    old.send(request)
    await until('a second answer', () => old.received.split('ok').length === 3)
    assert.equal(await statistic(envoy!, 'listener_manager.listener_modified'), 0)
    assert.equal(await statistic(envoy!, 'listener_manager.total_filter_chains_draining'), 0)
  })
})

test('a listener that comes again while the former one drains serves at once, with the settings that it has now', async t => {
  const port = await answeringPort(t)
  await withEnvoys(1, async (lab, [envoy]) => {
    const first = boundResources(port, hour)
    await serveIn(lab, first)
    const old = await client(t, port.port.port)
    old.send(request)
    await old.until('ok')
    lab.store.update({ remove: first })
    await until('drained', async () => (await statistic(envoy!, 'listener_manager.total_listeners_draining')) === 1)
    await serveIn(lab, boundResources(port, 3000))
    await until('a listener', async () => (await envoy!.get('/listeners')).includes(String(port.port.port)))
    const brief = await client(t, port.port.port)
    brief.send(request)
    assert.match(await brief.untilEnd(), /ok/)
  })
})

test('the filter of the shared listener changes for all Service ports, also for those to come, and open connections stay as they are', async t => {
  const [first, second, late] = [await answeringPort(t), await answeringPort(t), await answeringPort(t)]
  await withEnvoys(1, async (lab, [envoy]) => {
    const isBrief = async ({ port }: PortState) => {
      const brief = await client(t, port.port)
      brief.send(request)
      assert.match(await brief.untilEnd(), /ok/)
    }
    const all = [first, second, late]
    await serveIn(lab, sharedResources([first, second], hour, all))
    const old = await client(t, first.port.port)
    old.send(request)
    await old.until('ok')
    await serveIn(lab, sharedResources([first, second], 1000, all))
    await Promise.all([first, second].map(isBrief))
    await serveIn(lab, sharedResources([late], 1000, all))
    await isBrief(late)
    old.send(request)
    await until('a second answer', () => old.received.split('ok').length === 3)
    assert.equal(await statistic(envoy!, 'listener_manager.listener_modified'), 0)
    assert.equal(await statistic(envoy!, 'listener_manager.total_filter_chains_draining'), 0)
  })
})

test('the shared listener comes again, with its filter and scopes, after it went', async t => {
  const port = await answeringPort(t)
  await withEnvoys(1, async (lab, [envoy]) => {
    const resources = sharedResources([port], hour)
    for (let i = 0; i < 2; i++) {
      await serveIn(lab, resources)
      const connection = await client(t, port.port.port)
      connection.send(request)
      await connection.until('ok')
      lab.store.update({ remove: resources })
      await until('gone', async () => !(await envoy!.get('/listeners')).includes(String(port.port.port)))
    }
  })
})

test('a filter that Envoy refuses takes no other along, is refused again by an Envoy that connects anew, and serves once it is mended', async t => {
  const [first, second] = [await answeringPort(t), await answeringPort(t)]
  await withEnvoys(1, async lab => {
    const [mended, others] = [first, second].map(port => boundResources(port, hour)) as [Resource[], Resource[]]
    const refused = mended.map(withTwoRouters).find(({ version }) => version === 'two routers')!
    lab.store.update({ put: [...mended.map(withTwoRouters), ...others] })
    for (const count of [1, 2]) {
      await until('all others', () => hasAll(lab, others) && lab.nacks.length === count, promptSeconds)
      await until('settled', () => lab.settled.includes(lab.clients.at(-1)!.id), promptSeconds)
      assert.deepEqual([...new Set(lab.nacks.map(({ ref }) => ref.name))], [refused.name])
      assert.match(lab.nacks[0]!.detail, /terminal filter/)
      assert.equal(lab.server.acknowledgedVersion(lab.clients.at(-1)!.id, refused), undefined)
      await lab.stop()
      await lab.start()
      await until('connected', () => lab.clients.length === count + 1)
    }
    await serveIn(lab, mended)
    const connection = await client(t, first.port.port)
    connection.send(request)
    await connection.until('ok')
  })
})
