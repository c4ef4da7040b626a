/** An Envoy that hangs keeps its sockets open: without an end of its connections clients would wait there. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { createServer } from 'node:http'
import { after, before, beforeEach, describe, test } from 'node:test'
import { canarySocket } from '../../../src/envoy/program/sockets.ts'
import { listTcp } from '../../../src/kernel/netlink/sockdiag.ts'
import { NetlinkSocket } from '../../../src/kernel/netlink/socket.ts'
import { setDelay } from '../../../src/lab/clients.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { pause } from '../../../src/lab/wait.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'

const url = 'http://10.96.1.1/'
const connections = 20

describe('an Envoy whose canary does not answer', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod

  before(async () => {
    lab = await AgentLab.build()
    client = await lab.pod('client', 50)
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.1.1'] }, await lab.pods(['web-1', 'web-2'], 11)))
    const slow = await lab.pod('slow', 21)
    await setDelay(slow, 8080, 4000)
    lab.write('slow', serviceWith({ name: 'slow', vips: ['10.96.1.2'] }, [slow]))
  })

  after(() => lab?.destroy())

  beforeEach(async () => {
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.untilServedBy('envoy', client, 'http://10.96.1.2/')
  })

  /** Open connections of clients with Envoy ; the Services have one port. */
  function clientsOfEnvoy(): number {
    const socket = new NetlinkSocket('sockDiag', { netns: netnsPath(lab.node.netns) })
    try {
      return listTcp(socket, { states: ['established', 'closeWait'], localPort: 80 }).length
    } finally {
      socket.close()
    }
  }

  const startLoad = (rate: number) => lab.load(client, { url, connections, rate, timeoutMs: 10_000 })

  test('loses its clients when it hangs, idle ones too, and they go on by the kernel layer', async () => {
    const idle = await lab.load(client, { url, connections: 5, rate: 5 })
    await pause(1500)
    await idle.stop()
    const load = await startLoad(500)
    await pause(1000)
    assert.ok(clientsOfEnvoy() >= connections)
    const stopped = Date.now()
    lab.envoy.kill('SIGSTOP')
    await lab.until('no client with Envoy', () => clientsOfEnvoy() === 0)
    await lab.untilServedBy('kernel', client, url)
    await pause(1000)
    const { errors, layers } = await load.stop()
    // One for each connection, and no request that waited for its own end.
    assert.deepEqual(Object.keys(errors), ['ECONNRESET'])
    assert.ok(errors.ECONNRESET! <= connections, JSON.stringify(errors))
    assert.ok(layers.kernel!.last > stopped && layers.envoy!.last < layers.kernel!.last)
    assert.equal(clientsOfEnvoy(), 0)
    lab.envoy.kill('SIGCONT')
    await lab.untilServedBy('envoy', client, url)
  })

  test('keeps its clients as long as it goes on with any of them, whatever its canary does', async () => {
    const load = await startLoad(100)
    // Envoy leaves the second request where it is until the first has its answer.
    const request = 'GET / HTTP/1.1\\r\\nHost: slow\\r\\n'
    const send = (more: string) => `printf '${request}${more}\\r\\n' >&3`
    const steps = ['exec 3<>/dev/tcp/10.96.1.2/80', send(''), 'sleep 0.5', send('Connection: close\\r\\n'), 'cat <&3']
    const pipelined = runIn(client.netns, 'bash', ['-c', steps.join('; ')])
    const { path } = canarySocket({ directory: lab.envoySockets }, 1)
    const silent = createServer(() => {})
    renameSync(path, `${path}.away`)
    try {
      await once(silent.listen(path), 'listening')
      await lab.untilEnvoyIsUp(false)
      await pause(2000)
    } finally {
      silent.close()
      silent.closeAllConnections()
      renameSync(`${path}.away`, path)
    }
    await lab.untilServedBy('envoy', client, url)
    assert.deepEqual((await load.stop()).errors, {})
    assert.equal((await pipelined).stdout.match(/HTTP\/1.1 200/g)?.length, 2)
  })
})
