/** What a process without privileges on the node's network can do to agent and Envoy: nothing. */

import assert from 'node:assert/strict'
import { chmodSync, chownSync, existsSync, rmSync, statSync } from 'node:fs'
import { after, afterEach, before, describe, test } from 'node:test'
import { socketPaths, xdsSocket } from '../../../../src/envoy/program/sockets.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import type { Child, RunResult } from '../../../../src/lab/processes.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { envoyUser } from '../envoy-user.ts'
import { AgentLab, skip } from '../lab.ts'

const asNobody = '--reuid 12345 --regid 12345 --clear-groups --inh-caps -all --bounding-set -all'.split(' ')
const python = '/usr/bin/python3'

describe("a process of another user on the node's network", { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const url = 'http://10.96.9.1/'
  const strangers: Child[] = []

  before(async () => {
    lab = await AgentLab.build()
    const [first, ...pods] = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = first!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.9.1'] }, pods))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await lab.untilServedBy('envoy', lab.node, url)
  })
  after(() => lab?.destroy())
  afterEach(async () => {
    for (const stranger of strangers.splice(0)) await stranger.stop()
  })

  const stranger = (command: string, ...args: readonly string[]): Promise<RunResult> =>
    lab.on('setpriv', [...asNobody, command, ...args])

  /** What it listens on it answers with `stranger`; what it prints is a line for each connection. */
  async function listen(...ports: readonly number[]): Promise<{ connections(): string }> {
    return listenAs(asNobody, ports)
  }

  async function listenAs(who: readonly string[], ports: readonly number[]): Promise<{ connections(): string }> {
    const program = `
import socketserver, sys, threading
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        print('connection', flush=True)
        self.request.recv(4096)
        self.request.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 8\\r\\nconnection: close\\r\\n\\r\\nstranger')
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.allow_reuse_port = True
for port in [${ports.join()}]:
    threading.Thread(target=socketserver.ThreadingTCPServer(('', port), Answer).serve_forever).start()
print('listening', flush=True)`
    const args = [...who, python, '-c', program]
    const child = await lab.network.processes.spawnIn(lab.node.netns, 'setpriv', args, { pipeStdout: true })
    strangers.push(child)
    let text = ''
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk
    })
    await lab.until('it to listen', () => text.includes('listening'))
    return { connections: () => text.replace('listening\n', '') }
  }

  const page = (path: string, ...args: readonly string[]) =>
    stranger(
      'curl',
      '-s',
      '--path-as-is',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      ...args,
      `http://127.0.0.1:15000${path}`,
    )

  test('opens none of the sockets between agent and Envoy, and cannot look into their directory', async () => {
    const { uid, gid, mode } = statSync(lab.envoySockets)
    assert.deepEqual([uid, gid, mode & 0o7777], [0, envoyUser, 0o1770])
    assert.notEqual((await stranger('ls', lab.envoySockets)).code, 0)
    for (const socket of socketPaths(lab.envoySockets)) {
      assert.equal((await stranger('curl', '-s', '--unix-socket', socket, 'http://x/')).code, 7, socket)
    }
    // Envoy itself goes in, and is believed.
    await lab.untilMetric('lightpath_envoy_up', 1)
  })

  test("reads Envoy's admin pages at port 15000, and changes nothing there", async () => {
    const { pid } = lab.envoy
    for (const path of ['/', '/ready', '/clusters', '/listeners', '/config_dump', '/stats?usedonly', '/server_info']) {
      assert.equal((await page(path)).stdout, '200', path)
    }
    const changing = [
      '/quitquitquit',
      '/healthcheck/fail',
      '/drain_listeners',
      '/logging?level=trace',
      '/reset_counters',
    ]
    const disguised = ['//quitquitquit', '/stats/../quitquitquit', '/stats/%2e%2e/quitquitquit', '/stats;/quitquitquit']
    for (const path of [...changing, ...disguised, '/', '/stats']) {
      assert.equal((await page(path, '-X', 'POST')).stdout, '403', `POST ${path}`)
    }
    for (const path of [...changing, ...disguised, '/runtime_modify?a=b', '/cpuprofiler?enable=y', '/heap_dump']) {
      assert.equal((await page(path)).stdout, '403', `GET ${path}`)
    }
    for (const method of ['PUT', 'DELETE', 'HEAD', 'OPTIONS', 'CONNECT', 'post']) {
      assert.notEqual((await page('/quitquitquit', '-m', '2', '-X', method)).stdout, '200', method)
    }
    await pause(1500)
    assert.equal(lab.envoy.pid, pid)
    assert.match(await lab.ask(client, url), / by envoy$/)
  })

  test('holds a few connections to the admin pages, and no more', async () => {
    // Envoy ends those that send nothing after 30 s: the limit has to end the others long before.
    const program = `
import socket, time
held = [socket.create_connection(('127.0.0.1', 15000)) for _ in range(200)]
def is_open(each):
    each.setblocking(False)
    try: return each.recv(1) != b''
    except BlockingIOError: return True
    except ConnectionError: return False
end = time.monotonic() + 20
while len(held) > 40 and time.monotonic() < end:
    time.sleep(0.1)
    held = [each for each in held if is_open(each)]
print(len(held))`
    const open = Number((await stranger(python, '-c', program)).stdout)
    // 32, and each worker of Envoy may accept one at the same time as another.
    assert.ok(open >= 16 && open <= 40, `${open} of 200 open`)
    await lab.until('the pages again', async () => (await page('/ready')).stdout === '200')
  })

  test('reads few of the admin pages in a row, which take the thread that takes changes', async () => {
    const loop = ['--parallel', '--parallel-max', '4', '--output', '/dev/null', '--write-out', '%{http_code}\\n']
    const { stdout } = await stranger('curl', '-s', ...loop, 'http://127.0.0.1:15000/config_dump?[1-200]')
    const codes = Map.groupBy(stdout.trim().split('\n'), code => code)
    assert.ok((codes.get('429')?.length ?? 0) > 150, stdout)
    await lab.until('a page again', async () => (await page('/config_dump')).stdout === '200')
  })

  test('is no xDS server to Envoy while the agent is away', async () => {
    await lab.agent.down('SIGKILL')
    const { connections } = await listen(18000)
    const taken = await stranger(
      python,
      '-c',
      `import os, socket, sys; os.unlink(sys.argv[1]); socket.socket(socket.AF_UNIX).bind(sys.argv[1])`,
      xdsSocket(lab.envoySockets),
    )
    assert.match(taken.stderr, /PermissionError/)
    await lab.envoy.down('SIGKILL')
    await lab.envoy.up()
    await pause(3000)
    assert.equal(connections(), '')
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  test("gets no connection of the node's processes on the port of a dead Envoy, with the agent alive and dead", async () => {
    for (const isAgentAlive of [true, false]) {
      if (!isAgentAlive) await lab.agent.down('SIGKILL')
      await lab.envoy.down('SIGKILL')
      const { connections } = await listen(1666, 1667)
      for (let i = 0; i < 20; i++) await lab.ask(lab.node, url)
      assert.equal(connections(), '')
      if (isAgentAlive) await lab.untilServedBy('kernel', lab.node, url)
      for (const each of strangers.splice(0)) await each.stop()
      await lab.start()
      await lab.untilServedBy('envoy', lab.node, url)
    }
  })

  test("with Envoy's own user, which may listen beside it, gets no connection, and leaves all to the kernel layer", async () => {
    const asEnvoy =
      `--reuid ${envoyUser} --regid ${envoyUser} --clear-groups --inh-caps -all --bounding-set -all`.split(' ')
    lab.forgetLog()
    const { connections } = await listenAs(asEnvoy, [1667])
    const line = await lab.untilLogged(/LP305.*"problem"/)
    assert.match(
      line,
      new RegExp(`a process of user ${envoyUser} listens there that is not Envoy.*kernel layer serves all`),
    )
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    for (let i = 0; i < 20; i++) assert.match(await lab.ask(lab.node, url), / by kernel$/)
    assert.equal(connections(), '')
    const { stdout } = await lab.lightpath('status', '--socket', lab.socket)
    assert.match(stdout, /another process listens on Envoy's port \(LP305\)/)
    for (const each of strangers.splice(0)) await each.stop()
    await lab.untilLogged(/LP305.*"problem is over"/)
    await lab.untilServedBy('envoy', lab.node, url)
  })

  test('keeps no Envoy from starting by taking the port of the admin pages', async () => {
    await lab.envoy.down()
    await listen(15000, 15001)
    await lab.follower.up()
    await lab.untilEnvoyIsUp()
    await lab.untilServedBy('envoy', client, url)
    await lab.follower.down()
  })

  test('files of sockets that killed processes left keep neither agent nor Envoy from starting', async () => {
    await lab.start()
    await Promise.all([lab.agent.down('SIGKILL'), lab.envoy.down('SIGKILL')])
    assert.ok(existsSync(xdsSocket(lab.envoySockets)))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  test('a directory that is open to others is closed, and one of another user is refused: then nothing is left to Envoy', async () => {
    await lab.agent.down()
    chmodSync(lab.envoySockets, 0o777)
    await lab.agent.up()
    await lab.untilEnvoyIsUp()
    assert.equal(statSync(lab.envoySockets).mode & 0o7777, 0o1770)
    await lab.untilServedBy('envoy', client, url)

    await lab.agent.down('SIGKILL')
    assert.notDeepEqual(await lab.overlay(), [])
    chownSync(lab.envoySockets, 12345, 12345)
    lab.forgetLog()
    await lab.agent.up()
    const line = await lab.untilLogged(/LP302.*"problem"/)
    assert.match(line, /belongs to user 12345, who could put sockets there; remove it.*the kernel layer serves all/)
    // Not only when an Envoy has had its 10 s to come back.
    const deadline = performance.now() + 5000
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    assert.ok(performance.now() < deadline)
    assert.match(await lab.ask(client, url), / by kernel$/)
    rmSync(lab.envoySockets, { recursive: true })
    await lab.envoy.down('SIGKILL')
    await lab.until('the directory', () => existsSync(xdsSocket(lab.envoySockets)))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })
})
