/** gRPC through Envoy: clients in Go and Node.js, servers in Go, on a node with agent and Envoy. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { curl } from '../../../src/lab/clients.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { Report as TopReport } from '../../../src/top/report.ts'
import { AgentLab } from '../agent/lab.ts'
import { type Endpoint, type PortOptions, serviceWith } from '../manifests.ts'
import { GrpcLab, type Report, skip } from './lab.ts'

const calls: PortOptions = { name: 'grpc', port: 50051, targetPort: 8080 }

describe('gRPC', { skip }, () => {
  let lab: AgentLab
  let grpc: GrpcLab
  let pods: readonly Pod[]
  let client: Pod
  let services = 0

  before(async () => {
    // On a busy machine a client's first bytes may come a second after its handshake.
    const flags = ['--drain-time', '2s', '--first-bytes-timeout', '15s']
    lab = await AgentLab.build({ families: ['IPv4'], flags })
    grpc = new GrpcLab(lab)
    pods = await grpc.pods(10, 11)
    client = await lab.network.addPod('node1', 'client', { host: 50 })
    await lab.start()
  })

  after(() => lab?.destroy())

  interface TestService {
    readonly name: string
    /** Where clients call it. */
    readonly address: string
    write(endpoints: readonly Endpoint[], settings?: Readonly<Record<string, string>>): void
  }

  /** A Service with a VIP and a cluster of its own, once Envoy serves it. */
  async function serviceOf(endpoints: readonly Endpoint[], settings = {}, port = calls): Promise<TestService> {
    services++
    const [name, vip] = [`calls-${services}`, `10.96.2.${services}`]
    const write: TestService['write'] = (endpoints, settings = {}) =>
      lab.write(name, serviceWith({ name, vips: [vip], ports: [port], settings }, endpoints))
    write(endpoints, settings)
    await lab.until(`${name} in Envoy`, async () => {
      const ports = (await lab.explain(`default/${name}`))?.envoyPorts ?? {}
      return ports[`default/${name}/${port.name}`]?.up
    })
    return { name, address: `${vip}:${port.port}`, write }
  }

  function assertEven({ Shares, Errors }: Report, within: number): void {
    assert.deepEqual(Errors, {})
    const counts = Object.values(Shares)
    const even = counts.reduce((sum, count) => sum + count, 0) / pods.length
    assert.equal(counts.length, pods.length)
    for (const count of counts) assert.ok(Math.abs(count - even) <= even * within, JSON.stringify(Shares))
  }

  test('calls and streams of one connection are shared among ten endpoints evenly', async () => {
    const { address } = await serviceOf(pods)
    // One after another: with more in flight, an endpoint that waits for a core rightly gets fewer. So each is drawn at
    // random, and of 15,000 an endpoint's share is off by 15 % once in 10^9 times, of 30,000 by 10 % once in 10^8.
    const [byGo, byNode] = [
      await grpc.go(client, 'unary', address, '--count', '15000'),
      await grpc.node(client, 'unary', address, 15_000),
    ]
    for (const report of [byGo, byNode]) assertEven(report, 0.15)
    const shares = pods.map(({ name }) => [name, byGo.Shares[name]! + byNode.Shares[name]!])
    assertEven({ Shares: Object.fromEntries(shares), Errors: {} }, 0.1)
    assertEven(await grpc.go(client, 'streams', address, '--count', '1000'), 0.1)
    assertEven(await grpc.node(client, 'streams', address, 1000), 0.1)
  })

  test('a port that serves HTTP/1.1 and gRPC alike does so through Envoy', async () => {
    const { address } = await serviceOf(pods.slice(0, 2), {}, { ...calls, targetPort: 8081 })
    const { Errors, Shares } = await grpc.go(client, 'unary', address, '--count', '100')
    assert.deepEqual([Errors, Object.keys(Shares).length], [{}, 2])
    assert.equal((await curl(client, [`http://${address}/healthz`])).stdout, 'well by HTTP/1.1\n')
  })

  /** At how many endpoints a call has been that is answered with this status. */
  async function triesOf({ address }: TestService, status: number): Promise<number> {
    const id = `call-${services}-${status}`
    const { Errors } = await grpc.go(client, 'unary', address, '--status', `${status}`, '--id', id)
    assert.equal(Object.keys(Errors).length, 1)
    const seen = await Promise.all(
      pods.map(({ ip }) => grpc.go(client, 'unary', `${ip}:8080`, '--method', `/lab/Seen/${id}0`)),
    )
    return seen.reduce((sum, { Shares }) => sum + Number(Object.keys(Shares)[0]), 0)
  }

  test('what the application answered is not asked for again, unless retry-on names the status', async () => {
    const [unavailable, resourceExhausted] = [14, 8]
    const once = await serviceOf(pods)
    for (const status of [unavailable, resourceExhausted, 13, 2]) assert.equal(await triesOf(once, status), 1)
    const repeated = await serviceOf(pods, { 'retry-on': '5xx,resource-exhausted' })
    assert.equal(await triesOf(repeated, unavailable), 1)
    assert.equal(await triesOf(repeated, resourceExhausted), 3)
  })

  test('answers that a client has earned itself eject no endpoint', async () => {
    const three = pods.slice(0, 3)
    const { address } = await serviceOf(three)
    // INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAUTHENTICATED
    for (const status of [3, 5, 8, 16])
      await grpc.go(client, 'unary', address, '--count', '150', '--status', `${status}`)
    const { Shares } = await grpc.go(client, 'unary', address, '--count', '100')
    assert.deepEqual(Object.keys(Shares).sort(), three.map(({ name }) => name).sort())
  })

  const fail = (pod: Pod, status: number) =>
    grpc.go(client, 'unary', `${pod.ip}:8080`, '--method', `/lab/Fail/${status}`)

  async function isEjected({ name }: TestService, { ip }: Pod): Promise<boolean> {
    const health = (await lab.explain(`default/${name}`))?.health[`default/${name}/grpc`] ?? {}
    return health[`${ip}:8080`]?.ejected ?? false
  }

  for (const [name, status] of [
    ['UNAVAILABLE', 14],
    ['INTERNAL', 13],
  ] as const)
    test(`an endpoint that answers ${name} to everything is ejected, and from then on no call fails`, async () => {
      const three = pods.slice(0, 3)
      const service = await serviceOf(three)
      await fail(three[0]!, status)
      try {
        const load = await grpc.start(client, 'unary', service.address, '--count', '0', '--rate', '100')
        await lab.until('its ejection', () => isEjected(service, three[0]!))
        await load.stop()
        const { Errors } = await grpc.go(client, 'unary', service.address, '--count', '100', '--rate', '100')
        assert.deepEqual(Errors, {})
      } finally {
        await fail(three[0]!, 0)
      }
    })

  test('where a port says that calls may be repeated, none of 200 a second fails by an endpoint that is killed', async () => {
    const safe = await serviceOf(pods, { 'retry-non-idempotent': 'true' })
    const plain = await serviceOf(pods)
    const flags = ['--count', '0', '--rate', '200', '--at-a-time', '10']
    const [repeated, once] = [
      await grpc.start(client, 'unary', safe.address, ...flags),
      await grpc.start(client, 'unary', plain.address, ...flags),
    ]
    await sleep(1000)
    await grpc.end(pods[9]!, 'SIGKILL')
    await sleep(1500)
    const [a, b] = [await repeated.stop(), await once.stop()]
    await grpc.serve(pods[9]!)
    assert.deepEqual(a.Errors, {})
    // Those that it had got.
    assert.ok((b.Errors.Unavailable ?? 0) <= 10 && Object.keys(b.Errors).length <= 1, JSON.stringify(b.Errors))
  })

  test('no call fails while all endpoints are replaced one after another', async () => {
    const [old, replacements] = [pods.slice(0, 3), pods.slice(3, 6)]
    const service = await serviceOf(old)
    const load = await grpc.start(client, 'unary', service.address, '--count', '0', '--rate', '200', '--at-a-time', '4')
    for (const [i, pod] of old.entries()) {
      const rest = [...replacements.slice(0, i + 1), ...old.slice(i + 1)]
      service.write([...rest, { ...pod, state: 'draining' }])
      await sleep(500)
      await grpc.end(pod, 'SIGTERM')
      service.write(rest)
    }
    const waited = new Set(replacements.map(({ name }) => name))
    await lab.until('an answer of each replacement', async () => {
      const { Shares } = await grpc.go(client, 'unary', service.address, '--count', '10')
      for (const name of Object.keys(Shares)) waited.delete(name)
      return waited.size === 0
    })
    const { Errors } = await load.stop()
    await Promise.all(old.map(pod => grpc.serve(pod)))
    assert.deepEqual(Errors, {})
  })

  test('an open stream outlives changes of other endpoints, of settings and of other Services, and its own endpoint leaving', async () => {
    const service = await serviceOf(pods)
    const stream = await grpc.start(client, 'hold', service.address)
    service.write(pods.slice(0, 5))
    await sleep(300)
    service.write(pods.slice(5))
    await sleep(300)
    service.write(pods.slice(5), { 'num-retries': '1', 'lb-policy': 'ROUND_ROBIN' })
    await serviceOf(pods.slice(0, 2))
    const { Errors, Shares } = await stream.stop()
    assert.deepEqual([Errors, Object.keys(Shares).length], [{}, 1])
    assert.ok(Object.values(Shares)[0]! > 1)
  })

  /** Whether a connection stays at its endpoint, as in the kernel layer. */
  async function isPinned({ name }: TestService): Promise<boolean> {
    const flags = ['--once', '--interval', '0.5', '--output', 'json', '--socket', lab.socket]
    const { stdout } = await lab.lightpath('top', `default/${name}`, ...flags)
    return (JSON.parse(stdout) as TopReport).ports.some(({ pinnedConnections }) => pinnedConnections > 0)
  }

  test('a client of a port that leaves Envoy goes on by the kernel layer, and no call fails', async () => {
    const service = await serviceOf(pods)
    const flags = ['--count', '0', '--rate', '50', '--method', '/lab/Layer']
    const load = await grpc.start(client, 'unary', service.address, ...flags)
    service.write(pods, { overlay: 'false' })
    // Beyond the drain time, and the next look at the port.
    await lab.until('its connection by the kernel layer', () => isPinned(service))
    await sleep(1000)
    const { Errors, Shares } = await load.stop()
    assert.ok(Shares.kernel! > 0 && Shares.envoy! > 0, JSON.stringify(Shares))
    assert.deepEqual(Errors, {})
  })

  test('when Envoy is killed, the next call is served by the kernel layer', async () => {
    const { address } = await serviceOf(pods)
    const flags = ['--count', '0', '--rate', '50', '--method', '/lab/Layer']
    const load = await grpc.start(client, 'unary', address, ...flags)
    // It stays down: a client that is kept from running might find the next one.
    await lab.envoy.down('SIGKILL')
    await sleep(2000)
    const { Errors, Shares } = await load.stop()
    assert.ok(Shares.kernel! > 0 && Shares.envoy! > 0, JSON.stringify(Shares))
    // The one in flight.
    assert.ok((Errors.Unavailable ?? 0) <= 1 && Object.keys(Errors).length <= 1, JSON.stringify(Errors))
  })
})
