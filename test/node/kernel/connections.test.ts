/** Flows of conntrack and TCP sockets by netlink, with real traffic: which there are, and their end. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { deleteFlow, type FlowFilter, listFlows } from '../../../src/kernel/netlink/ctnetlink.ts'
import { listSilent } from '../../../src/kernel/netlink/silence.ts'
import { destroyTcp, listTcp, tcpListeners } from '../../../src/kernel/netlink/sockdiag.ts'
import { NetlinkSocket } from '../../../src/kernel/netlink/socket.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import type { Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import { holdConnection, KernelLab, needsRoot } from './lab.ts'

describe('Connections, as the kernel knows them', needsRoot, () => {
  let lab: KernelLab
  let server: Pod
  let client: Pod
  let flows: NetlinkSocket
  let sockets: NetlinkSocket

  before(async () => {
    lab = await KernelLab.create()
    server = await lab.addServer('node1', 'server')
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    const to = (ip: string, port: string) => [`${ip}${port}@node1`]
    lab.tables.setPort(portState('a/web/http', '10.96.0.1', to(server.ip, ':8080')))
    lab.tables.setPort(portState('a/web/http/IPv6', 'fd00:96::1', to(server.ip6, ' 8080')))
    lab.tables.synced()
    await lab.tables.settled()
    flows = new NetlinkSocket('netfilter', { netns: lab.options.netns })
    sockets = new NetlinkSocket('sockDiag', { netns: netnsPath(server.netns) })
  })
  after(async () => {
    flows?.close()
    sockets?.close()
    await lab?.destroy()
  })

  for (const [family, vip, address] of [
    ['IPv4', '10.96.0.1', 'ip'],
    ['IPv6', 'fd00:96::1', 'ip6'],
  ] as const) {
    test(`A flow of ${family} is found by each of its parts, and by nothing that is not its own`, async () => {
      const held = await holdConnection(client.netns, vip, 80)
      const find = async (filter: Partial<FlowFilter>) => {
        const found = await listFlows(flows, { family, protocol: 'TCP', ...filter })
        return found.filter(({ original }) => original.destination === vip)
      }
      const [flow] = await find({})
      assert.deepEqual(
        [flow?.original.source, flow?.original.destinationPort, flow?.reply.source, flow?.reply.sourcePort],
        [client[address], 80, server[address], 8080],
      )
      assert.deepEqual([flow!.isReplied, flow!.mark, flow!.zone], [true, 0, 0])
      for (const part of ['source', 'destination', 'sourcePort', 'destinationPort'] as const) {
        assert.equal((await find({ original: { [part]: flow!.original[part] } })).length, 1, `original ${part}`)
        assert.equal((await find({ reply: { [part]: flow!.reply[part] } })).length, 1, `reply ${part}`)
      }
      assert.equal((await find({ mark: { value: 0, mask: 0x1000 }, zone: 0 })).length, 1)
      const [any] = await listFlows(flows, { protocol: 'TCP', original: { destination: vip, destinationPort: 80 } })
      assert.deepEqual(any, flow, 'of any family')
      const others: Partial<FlowFilter>[] = [
        { protocol: 'UDP' },
        { mark: { value: 0x1000, mask: 0x1000 } },
        { zone: 7 },
        { original: { destinationPort: 81 } },
        { reply: { source: client[address] } },
      ]
      for (const filter of others) assert.deepEqual(await find(filter), [], JSON.stringify(filter))
      held.close()
    })

    test(`A flow of ${family} that is deleted has no way on, and is deleted once`, async () => {
      const held = await holdConnection(client.netns, vip, 80)
      const found = await listFlows(flows, { family, protocol: 'TCP', original: { destination: vip } })
      assert.ok(found.length > 0)
      for (const flow of found) assert.equal(deleteFlow(flows, flow), true)
      for (const flow of found) assert.equal(deleteFlow(flows, flow), false)
      assert.deepEqual(await listFlows(flows, { family, protocol: 'TCP', original: { destination: vip } }), [])
      held.close()
    })

    test(`A connection of ${family} is found by its port and its state, and ended at once`, async () => {
      const held = await holdConnection(client.netns, vip, 80)
      const connections = listTcp(sockets, { states: ['established'], localPort: 8080 })
      const ours = connections.filter(({ remote }) => remote.ip.endsWith(client[address]))
      assert.ok(ours.length > 0)
      assert.deepEqual(listTcp(sockets, { states: ['established'], localPort: 8081 }), [])
      for (const connection of ours) {
        const same = listTcp(sockets, { states: ['established'], remotePort: connection.remote.port })
        assert.deepEqual(same, [connection])
        assert.equal(destroyTcp(sockets, connection), true)
        assert.equal(destroyTcp(sockets, connection), false)
      }
      assert.equal(await held.say('still there?'), 'ECONNRESET')
      held.close()
    })
  }

  test('A peer that acknowledges nothing is told from one that has no room', async () => {
    const [withoutRoom, silent] = [9000, 9001]
    const start = (pod: Pod, script: string) => lab.network.processes.spawnIn(pod.netns, 'python3', ['-c', script])
    await start(
      server,
      `import socket, time
listening = [socket.create_server(("", port)) for port in (${withoutRoom}, ${silent})]
time.sleep(60)`,
    )
    const drop = `table inet silence { chain in { type filter hook input priority 0; tcp dport ${silent} tcp flags & syn == 0 drop; }; }`
    await runIn(server.netns, 'nft', ['-f', '-'], { input: drop })
    await start(
      client,
      `import socket, time
for port in (${withoutRoom}, ${silent}):
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1000)
    while peer.connect_ex(("${server.ip}", port)): time.sleep(0.1)
    peer.setblocking(False)
    try:
        while True: peer.send(bytes(65536))
    except BlockingIOError: pass
    globals()[f"keep{port}"] = peer
time.sleep(60)`,
    )
    const own = new NetlinkSocket('sockDiag', { netns: netnsPath(client.netns) })
    try {
      const marked = (value: number) => ({ states: ['established'], mark: { value, mask: 0x3000 } }) as const
      const found = () => listSilent(own, marked(0x1000))
      await waitFor('a silent peer', 30_000, async () => found().some(one => one.unacknowledgedMs >= 500))
      const what = found().map(({ remote, unansweredProbes }) => [remote.port, unansweredProbes])
      assert.deepEqual(what, [[silent, 0]])
      assert.deepEqual(listSilent(own, marked(0x2000)), [])
    } finally {
      own.close()
    }
  })

  test('Who listens on a port is known, with the user', () => {
    const listeners = tcpListeners(sockets, 8080)
    assert.deepEqual(
      listeners.map(({ family, local, uid, mark }) => [family, local.ip, local.port, uid, mark]),
      [['IPv6', '::', 8080, 0, 0]],
    )
    assert.ok(listeners[0]!.inode > 0)
    assert.deepEqual(tcpListeners(sockets, 8081), [])
  })

  test('Without CAP_NET_ADMIN that is said, with the remedy', () => {
    const script = `
      const { removeStaleFlows } = await import('${new URL('../../../src/kernel/system/connections/conntrack.ts', import.meta.url)}')
      const { commandProblem } = await import('${new URL('../../../src/kernel/system/command.ts', import.meta.url)}')
      const failed = removeStaleFlows(new Map([['UDP 10.0.0.1 53', { allBut: new Set() }]]))
      console.log(await failed.catch(error => commandProblem('flows', error, 'other').remedy))`
    const node = [process.execPath, '--input-type=module', '-e', script]
    const said = execFileSync('setpriv', ['--bounding-set=-net_admin', '--inh-caps=-net_admin', ...node])
    assert.match(said.toString(), /CAP_NET_ADMIN/)
  })
})
