import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

const names = ['one', 'two', 'three'] as const
type Name = (typeof names)[number]
const vips: Readonly<Record<Name, string>> = { one: '10.96.8.1', two: '10.96.8.2', three: '10.96.8.3' }

const nodePorts: Readonly<Record<Name, number>> = { one: 30_081, two: 30_082, three: 30_083 }

/** Opens so many connections to an address and port, one after the other in so much time, and holds them. */
const holding = `const { connect } = require('node:net')
const [ip, port, count, everyMs] = process.argv.slice(1)
const { setTimeout: pause } = require('node:timers/promises')
;(async () => {
  for (let n = 0; n < Number(count); n++) {
    connect(Number(port), ip).on('error', () => {})
    if (Number(everyMs) > 0) await pause(Number(everyMs))
  }
})()
setInterval(() => {}, 1000)`

/** Begins so many requests whose headers never end, 240 kB each: Envoy refuses more than 256 KiB. */
const unfinished = `const { connect } = require('node:net')
const [ip, count] = process.argv.slice(1)
const lines = Array.from({ length: 15 }, (_, i) => 'X-' + i + ': ' + 'y'.repeat(16000) + '\\r\\n').join('')
for (let n = 0; n < Number(count); n++) {
  const socket = connect(80, ip).on('error', () => {})
  socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\n' + lines)
}
setInterval(() => {}, 1000)`

describe('an Envoy that is short of memory', { skip }, () => {
  let lab: AgentLab

  before(async () => {
    lab = await AgentLab.build({ bootstrapFlags: ['--envoy-heap', '128'] })
  })
  after(() => lab?.destroy())

  test('keeps out the port that fills it, also where it is always to be there, and its owner is told', async () => {
    const [client, other, web] = await lab.pods(['client', 'other', 'web-1'], 10)
    const settings = { overlay: 'always' }
    for (const name of ['one', 'two'] as const)
      lab.write(name, serviceWith({ name, vips: [vips[name]], settings }, [web!]))
    await lab.start()
    for (const name of ['one', 'two'] as const) await lab.untilServedBy('envoy', client!, `http://${vips[name]}/`)
    const args = ['-e', unfinished, vips.two, '420']
    const flood = await lab.network.processes.spawnIn(other!.netns, process.execPath, args, {})
    await lab.untilServedBy('kernel', client!, `http://${vips.one}/`)
    assert.equal(await lab.ask(client!, `http://${vips.two}/`), 'web-1 by kernel')
    const why = /waits for Envoy as http: Envoy was short of memory on this node/
    const explained = async (name: Name) =>
      (await lab.lightpath('explain', `default/${name}`, '--socket', lab.socket)).stdout
    await lab.until('the port to be held back', async () => why.test(await explained('two')))
    assert.doesNotMatch(await explained('one'), why)
    await lab.untilLogged(/is short of memory, and port http has most connections there \(\d+\)/)
    await flood.stop()
  })
})

interface LimitedBootstrap {
  readonly node: { readonly metadata: object }
  readonly overloadManager: { readonly resourceMonitors: readonly { readonly typedConfig: object }[] }
}

describe('more connections than an Envoy has room for', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let other: RunningPod

  before(async () => {
    const bootstrap = (changed: object) => {
      const { node, overloadManager } = changed as LimitedBootstrap
      const monitor = overloadManager.resourceMonitors.find(
        ({ typedConfig }) => 'maxActiveDownstreamConnections' in typedConfig,
      )!
      Object.assign(monitor.typedConfig, { maxActiveDownstreamConnections: '50' })
      Object.assign(node.metadata, { 'lightpath.cloud/connections': '50' })
    }
    lab = await AgentLab.build({ bootstrap })
    const pods = await lab.pods(['client', 'other', 'web-1'], 10)
    client = pods[0]!
    other = pods[1]!
    lab.writeNode()
    for (const name of names) {
      const ports = [{ name: 'http', port: 80, targetPort: 8080, nodePort: nodePorts[name] }]
      const options = { name, vips: [vips[name]], ports, settings: { external: 'true' }, spec: { type: 'NodePort' } }
      lab.write(name, serviceWith(options, [pods[2]!]))
    }
    await lab.start()
    for (const name of names) await lab.untilServedBy('envoy', client, urlOf(name))
  })
  after(() => lab?.destroy())

  const urlOf = (name: Name) => `http://${vips[name]}/`
  const flood = (ip: string, port: number, count: number, everyMs = 0) => {
    const args = ['-e', holding, ip, ...[port, count, everyMs].map(String)]
    return lab.network.processes.spawnIn(other.netns, process.execPath, args, {})
  }
  const isFull = /Envoy was short of room for connections on this node, and this port had most connections/
  const explained = async (name: Name) =>
    (await lab.lightpath('explain', `default/${name}`, '--socket', lab.socket)).stdout

  test('as they become many, take the port that has most of them, here by its node port, to the kernel layer, and the others stay in Envoy', async () => {
    const load = await lab.load(client, { url: urlOf('one'), connections: 1, rate: 20, fresh: true })
    const flooding = await flood(lab.node.address, nodePorts.two, 45, 200)
    await lab.untilServedBy('kernel', client, urlOf('two'))
    await lab.until('its reason', async () => isFull.test(await explained('two')))
    const line = await lab.untilLogged(/is short of room for connections, and port http has most connections there/)
    const [, connections] = /has most connections there \((\d+)\)/.exec(line) ?? []
    // Before it is full, however late that was seen.
    assert.ok(Number(connections) >= 20 && Number(connections) < 50, line)
    await pause(4000)
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
    await flooding.stop()
  })

  test('where Envoy is full at once, bring the node down to the kernel layer, until it has room for the others', async () => {
    const flooding = await flood(vips.three, 80, 100)
    await lab.untilServedBy('kernel', client, urlOf('one'))
    assert.equal(await lab.ask(client, urlOf('three')), 'web-1 by kernel')
    await lab.untilLogged(/LP304.*it is short of room for connections/)
    await flooding.stop()
    await lab.untilServedBy('envoy', client, urlOf('one'))
    await lab.until('the reason of three', async () => isFull.test(await explained('three')))
    assert.doesNotMatch(await explained('one'), isFull)
    assert.equal(await lab.ask(client, urlOf('three')), 'web-1 by kernel')
  })
})
