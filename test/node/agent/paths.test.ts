import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { askTcp, askUdp } from '../../../src/lab/clients.ts'
import type { Pod } from '../../../src/lab/network.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { pause } from '../../../src/lab/wait.ts'
import { dns, echo, http, serviceWith } from '../manifests.ts'
import { AgentLab, skip } from './lab.ts'

const families = [
  ['IPv4', '10.96.5.1', '10.96.5.1'],
  ['IPv6', 'fd00:96:5::1', '[fd00:96:5::1]'],
] as const

/** Strict reverse path filters, as on RHEL; the other files' nodes have loose ones. */
describe('from wherever a connection comes, on nodes with a strict reverse path filter', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let near: RunningPod
  let far: RunningPod

  before(async () => {
    lab = await AgentLab.build({ nodes: 2, rpFilter: 1 })
    ;[client, near, far] = await Promise.all([lab.pod('client', 10), lab.pod('near', 11), lab.pod('far', 11, 2)])
    const ports = [http, { ...echo, name: 'proxied', port: 8007 }, echo, dns, { ...http, name: 'plain', port: 81 }]
    const [service, ...slices] = serviceWith({ name: 'all', vips: [families[0][1], families[1][1]], ports }, [
      near,
      far,
    ])
    const annotations = { 'config.lightpath.cloud/proxied-overlay': 'true' }
    lab.write('all', [{ ...service, metadata: { name: 'all', namespace: 'default', annotations } }, ...slices])
    await lab.start()
    await lab.until('the overlay', async () => (await lab.overlay()).length === 4)
  })

  after(() => lab?.destroy())

  /** Connections that Envoy made for the plain TCP port so far. */
  async function proxied(): Promise<number> {
    const { stdout } = await lab.on('curl', [
      '--silent',
      'http://127.0.0.1:15000/stats?filter=proxied.*upstream_cx_total',
    ])
    return [...stdout.matchAll(/: (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
  }

  /** Who answers, in order of their names; asks until there were two of them, but not for ever. */
  async function answers(ask: () => Promise<string>): Promise<string[]> {
    const seen = new Set<string>()
    for (let asked = 0; asked < 60 && seen.size < 2; asked++) seen.add((await ask()).trim())
    return [...seen].sort()
  }

  for (const [who, from] of [
    ['pods', () => client],
    ["the node's own processes", () => lab.node],
    ['endpoints, to themselves too,', () => near],
  ] as [string, () => Pick<Pod, 'netns'>][]) {
    for (const [family, vip, host] of families) {
      test(`${who} reach http, tcp and udp Services over ${family} in both layers`, async () => {
        const byHttp = (layer: string) => ['far', 'near'].map(name => `${name} by ${layer}`)
        assert.deepEqual(await answers(() => lab.ask(from(), `http://${host}/`)), byHttp('envoy'))
        assert.deepEqual(await answers(() => lab.ask(from(), `http://${host}:81/`)), byHttp('kernel'))
        const begun = await proxied()
        const byTcp = ['far\nhello', 'near\nhello']
        assert.deepEqual(await answers(() => askTcp(from(), vip, 8007, 'hello')), byTcp)
        assert.ok((await proxied()) >= begun + 2)
        assert.deepEqual(await answers(() => askTcp(from(), vip, 7, 'hello')), byTcp)
        assert.deepEqual(await answers(() => askUdp(from(), vip, 53, 'hello')), ['far hello', 'near hello'])
      })
    }
  }

  /** Datagrams to the VIP from one socket, twenty a second; who answered last. */
  async function datagrams(vip: string) {
    const script = `
      const socket = require('dgram').createSocket('udp4')
      socket.on('message', answer => process.stdout.write(answer + '\\n')).on('error', () => {})
      setInterval(() => socket.send('x', 53, process.argv[1], () => {}), 50)`
    const args = ['--eval', script, vip]
    const child = await lab.network.processes.spawnIn(client.netns, process.execPath, args, { pipeStdout: true })
    let last = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      last = text.trim().split('\n').at(-1)!
    })
    const forget = () => {
      last = ''
    }
    return { last: () => last, forget, stop: () => child.stop() }
  }

  test('a UDP client that never pauses gets answers of a new Service, of its next endpoint, and of the first after none', async () => {
    const options = { name: 'dns', vips: ['10.96.5.2'], ports: [dns] }
    const stream = await datagrams('10.96.5.2')
    await lab.until('datagrams that go nowhere', async () => {
      return (await lab.on('conntrack', ['-L', '-p', 'udp', '--orig-dst', '10.96.5.2'])).stdout !== ''
    })
    for (const endpoint of [near, far]) {
      lab.write('dns', serviceWith(options, [endpoint]))
      await lab.until(`an answer of ${endpoint.name}`, () => stream.last() === `${endpoint.name} x`)
    }
    lab.write('dns', serviceWith(options, []))
    await lab.until('silence', async () => (await askUdp(client, '10.96.5.2', 53, 'x')) === '')
    await lab.until('silence for the stream, too', async () => {
      stream.forget()
      await pause(1000)
      return stream.last() === ''
    })
    lab.write('dns', serviceWith(options, [near]))
    await lab.until('an answer again', () => stream.last() === 'near x')
    await stream.stop()
    lab.remove('dns')
  })
})
