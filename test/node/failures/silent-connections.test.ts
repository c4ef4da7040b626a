/**
 * Living endpoints that say nothing for long are asked by keepalive and answer: what is open to them stays, while
 * connections to one that has vanished are ended.
 */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { AgentLab } from '../agent/lab.ts'
import { GrpcLab, skip } from '../grpc/lab.ts'
import { type PortOptions, serviceWith } from '../manifests.ts'

const [webIP, callsIP] = ['10.96.1.1', '10.96.1.2']
const url = `http://${webIP}/`
const calls: PortOptions = { name: 'grpc', port: 50051, targetPort: 8080 }
/** Each is silent for many keepalives: they come every two seconds (envoy/resources/connection.ts). */
const silentSeconds = 12
const slowSeconds = 20
const each = 6

describe('what is silent on a living endpoint, while another has vanished', { skip }, () => {
  let lab: AgentLab
  let grpc: GrpcLab
  let pods: readonly Pod[]
  let callees: readonly Pod[]
  let client: Pod

  before(async () => {
    lab = await AgentLab.build()
    grpc = new GrpcLab(lab)
    pods = await lab.pods(['web-1', 'web-2', 'web-3'], 11)
    callees = await grpc.pods(3, 21)
    client = await lab.pod('client', 50)
    lab.write('web', serviceWith({ name: 'web', vips: [webIP] }, pods))
    lab.write('calls', serviceWith({ name: 'calls', vips: [callsIP], ports: [calls] }, callees))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.until('gRPC in Envoy', async () => {
      return (await lab.explain('default/calls'))?.envoyPorts?.['default/calls/grpc']?.up
    })
  })
  after(() => lab?.destroy())

  const times = <T>(ask: () => Promise<T>) => Promise.all(Array.from({ length: each }, ask))
  const slow = (seconds: number, ...args: readonly string[]) =>
    times(() => lab.ask(client, `${url}delay?ms=${seconds * 1000}`, '--max-time', '60', ...args))
  const upgraded = () =>
    times(async () => (await runIn(client.netns, 'python3', ['-c', idleUpgrade], { timeoutMs: 60_000 })).stdout.trim())
  const stream = () => grpc.node(client, 'idle', `${callsIP}:${calls.port}`, silentSeconds)

  const vanish = ({ netns }: Pod) =>
    runIn(netns, 'nft', ['-f', '-'], {
      input:
        'table inet vanish { chain in { type filter hook input priority 0; policy drop; }; chain out { type filter hook output priority 0; policy drop; }; }',
    })

  test('goes on: long polls, slow answers, upgraded connections, and streams of gRPC', async () => {
    const before = slow(silentSeconds)
    const load = [
      await lab.load(client, { url, connections: 10, rate: 50 }),
      await grpc.start(client, 'unary', `${callsIP}:${calls.port}`, '--count', '0', '--rate', '20'),
    ] as const
    await sleep(1000)
    await Promise.all([pods[0]!, callees[0]!].map(vanish))
    // Until Envoy has ejected what has vanished.
    await sleep(6000)
    await load[0].stop()
    await load[1].stop()
    const [polls, gets, posts, upgrades, streams] = await Promise.all([
      before,
      slow(silentSeconds),
      slow(slowSeconds, '--request', 'POST'),
      upgraded(),
      times(stream),
    ])
    const living = ['web-2', 'web-3']
    const byEnvoy = (answers: readonly string[]) =>
      assert.deepEqual(
        answers.filter(answer => !living.some(name => answer === `${name} by envoy`)),
        [],
      )
    for (const answers of [polls, gets, posts]) byEnvoy(answers)
    assert.deepEqual(
      upgrades.filter(answer => !living.some(name => answer === `${name}: still there`)),
      [],
    )
    for (const { Errors, Shares } of streams) {
      assert.deepEqual(Errors, {})
      assert.equal(Shares[callees[0]!.name], undefined)
      assert.deepEqual(Object.values(Shares), [2])
    }
  })
})

const idleUpgrade = `
import socket, time
peer = socket.create_connection(('${webIP}', 80), 30)
peer.sendall(b'GET / HTTP/1.1\\r\\nHost: web\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
head = b''
while b'\\r\\n\\r\\n' not in head:
    head += peer.recv(4096)
assert head.startswith(b'HTTP/1.1 101'), head
time.sleep(${silentSeconds})
peer.sendall(b'still there')
print(peer.recv(4096).decode())
`
