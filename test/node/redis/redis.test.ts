import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Pod } from '../../../src/lab/network.ts'
import { type Child, type RunResult, runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { type Endpoint, serviceWith } from '../manifests.ts'

const single = '10.96.6.1'
const cluster = '10.96.6.2'
const port = { name: 'db', port: 6379, targetPort: 6379, appProtocol: 'lightpath.cloud/redis' }

/** Where Debian's redis-tools has the server, which its package redis-server links; that would start one on this machine. */
const serverProgram = '/usr/bin/redis-check-rdb'

const ioredisProgram = fileURLToPath(new URL('./ioredis.ts', import.meta.url))

const user = (name: string, password: string) => ['--user', name, 'on', password, '~*', '&*', '+@all']

describe('Redis through Envoy', { skip }, () => {
  let lab: AgentLab
  let client: Pod
  let primary: Pod
  let replica: Pod

  before(async () => {
    lab = await AgentLab.build()
    symlinkSync(serverProgram, join(lab.network.directory, 'redis-server'))
    const names = ['client', 'primary', 'replica', 'shard-1', 'shard-2', 'shard-3']
    const pods = await Promise.all(names.map((name, index) => lab.network.addPod('node1', name, { host: 10 + index })))
    client = pods[0]!
    primary = pods[1]!
    replica = pods[2]!
    const shards = pods.slice(3)
    await Promise.all([
      startRedis(primary, ...user('default', 'nopass'), ...user('app', '>secret')),
      startRedis(replica, '--replicaof', primary.ip, '6379'),
      ...shards.map(pod => startRedis(pod, '--cluster-enabled', 'yes')),
    ])
    const nodes = shards.map(({ ip }) => `${ip}:6379`)
    const created = await inClient('redis-cli', '--cluster', 'create', ...nodes, '--cluster-yes')
    assert.equal(created.code, 0, created.stdout)
    publish('single', single, [primary])
    publish('cluster', cluster, shards)
    await lab.start()
    await lab.until('the overlay', async () => (await lab.overlay()).length === 2)
  })

  after(() => lab?.destroy())

  function publish(name: string, vip: string, endpoints: readonly Endpoint[]): void {
    lab.write(name, serviceWith({ name, vips: [vip], ports: [port] }, endpoints))
  }

  /** Resolves when it answers. */
  async function startRedis(pod: Pod, ...flags: readonly string[]): Promise<void> {
    const directory = `${lab.network.directory}/${pod.name}`
    mkdirSync(directory)
    const args = ['--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '', '--dir', directory, ...flags]
    await lab.network.processes.spawnIn(pod.netns, join(lab.network.directory, 'redis-server'), args, {
      logFile: `${directory}/log`,
    })
    await lab.until(`an answer of ${pod.name}`, async () => {
      return (await runIn(pod.netns, 'redis-cli', ['ping'])).stdout.trim() === 'PONG'
    })
  }

  function inClient(program: string, ...args: readonly string[]): Promise<RunResult> {
    return runIn(client.netns, program, args, { timeoutMs: 60_000 })
  }

  /** What is answered to these commands on one connection. */
  async function answers(vip: string, ...commands: readonly string[]): Promise<string[]> {
    const { stdout } = await runIn(client.netns, 'redis-cli', ['-h', vip], { input: commands.join('\n') })
    return stdout.trimEnd().split('\n')
  }

  /** A client that waits for something; what it has printed so far. */
  async function waiting(
    ...args: readonly string[]
  ): Promise<{ readonly child: Child; readonly printed: () => string }> {
    const command = ['-h', single, ...args]
    const child = await lab.network.processes.spawnIn(client.netns, 'redis-cli', command, { pipeStdout: true })
    let printed = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
    return { child, printed: () => printed }
  }

  test('a connection has its user, its database and its protocol for itself', async () => {
    const [auth, user, select, set, protocol] = await answers(
      single,
      'AUTH app secret',
      'ACL WHOAMI',
      'SELECT 3',
      'SET place three',
      'HELLO 3',
    )
    assert.deepEqual([auth, user, select, set], ['OK', 'app', 'OK', 'OK'])
    assert.match(protocol!, /^server/)
    assert.deepEqual(await answers(single, 'ACL WHOAMI', 'EXISTS place'), ['default', '0'])
  })

  test('a transaction fails when a watched key has changed', async () => {
    const before = await answers(single, 'SET stock 1', 'WATCH stock', 'SET stock 2', 'MULTI', 'SET stock 3', 'EXEC')
    assert.deepEqual(before.slice(0, 5), ['OK', 'OK', 'OK', 'OK', 'QUEUED'])
    assert.deepEqual(await answers(single, 'GET stock'), ['2'])
  })

  test('scripts, RENAME, WAIT and what concerns the whole server are answered by it', async () => {
    const commands = ['SET a 1', 'RENAME a b', 'EVAL "return 7" 0', 'CLIENT SETNAME me', 'CLIENT GETNAME', 'WAIT 0 1']
    const [set, rename, script, name, own, waited] = await answers(single, ...commands)
    assert.deepEqual([set, rename, script, name, own], ['OK', 'OK', '7', 'OK', 'me'])
    assert.match(waited!, /^\d$/)
    assert.match((await answers(single, 'INFO server')).join(), /tcp_port:6379/)
  })

  test('blocking commands wait, and subscribers get what is published', async () => {
    const popper = await waiting('BLPOP', 'jobs', '0')
    const subscriber = await waiting('SUBSCRIBE', 'news')
    await lab.until('the subscription', () => subscriber.printed().includes('subscribe'))
    await lab.until('the one who waits', async () => {
      return (await answers(single, 'INFO clients')).some(line => line.startsWith('blocked_clients:1'))
    })
    assert.deepEqual(await answers(single, 'PUBLISH news hello', 'RPUSH jobs one'), ['1', '1'])
    await lab.until('the message', () => subscriber.printed().includes('hello'))
    await lab.until('the job', () => popper.printed().includes('one'))
    await subscriber.child.stop()
  })

  test('large values pass, and pipelines of many clients', async () => {
    const write = `head -c 20000000 /dev/zero | redis-cli -h ${single} -x SET large`
    assert.equal((await inClient('bash', '-c', write)).stdout.trim(), 'OK')
    assert.deepEqual(await answers(single, 'STRLEN large', 'DEL large'), ['20000000', '1'])
    const load = ['-h', single, '-t', 'set,get', '-n', '5000', '-c', '10', '-P', '16', '--csv']
    const { stdout, code } = await inClient('redis-benchmark', ...load)
    assert.equal(code, 0)
    assert.match(stdout, /"GET"/)
  })

  test('clients of a Redis cluster find the node that has the key', async () => {
    const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`)
    const write = keys.map(key => `SET ${key} of-${key}`).join('\n')
    const read = keys.map(key => `GET ${key}`).join('\n')
    const redirected = ['-c', '-h', cluster]
    await runIn(client.netns, 'redis-cli', redirected, { input: write })
    const { stdout } = await runIn(client.netns, 'redis-cli', redirected, { input: read })
    const values = stdout.split('\n').filter(line => line.startsWith('of-'))
    assert.deepEqual(
      values,
      keys.map(key => `of-${key}`),
    )
  })

  test('ioredis gets what it asks for, of a primary and of a cluster', async () => {
    const report = async (kind: string, vip: string) => {
      const { stdout, stderr, code } = await inClient(process.execPath, ioredisProgram, kind, vip)
      assert.equal(code, 0, stderr)
      return JSON.parse(stdout)
    }
    assert.deepEqual(await report('single', single), {
      user: 'app',
      pipelined: 1000,
      read: 1000,
      lost: null,
      done: [2, '2'],
      heard: 'hello',
      job: ['jobs', 'one'],
      scanned: 1000,
      script: 'seven',
    })
    assert.deepEqual(await report('cluster', cluster), { read: 100, nodes: 3 })
  })

  test('connections are counted by Service port', async () => {
    const port = '{namespace="default",service="single",port="db"}'
    const before = (await lab.metric(`lightpath_connections_total${port}`)) ?? 0
    assert.deepEqual(await answers(single, 'PING'), ['PONG'])
    await lab.until('one more', async () => {
      return ((await lab.metric(`lightpath_connections_total${port}`)) ?? 0) > before
    })
  })

  test('after a failover old connections stay where they are, and new ones come to the promoted replica', async () => {
    const subscriber = await waiting('SUBSCRIBE', 'old')
    await lab.until('the subscription', () => subscriber.printed().includes('subscribe'))
    await runIn(replica.netns, 'redis-cli', ['replicaof', 'no', 'one'])
    await runIn(replica.netns, 'redis-cli', ['set', 'who', 'replica'])
    publish('single', single, [{ ...primary, state: 'draining' }, replica])
    await lab.until('the promoted replica', async () => {
      return (await answers(single, 'GET who'))[0] === 'replica'
    })
    await runIn(primary.netns, 'redis-cli', ['publish', 'old', 'goodbye'])
    await lab.until('the message of the old one', () => subscriber.printed().includes('goodbye'))
    await subscriber.child.stop()
  })
})
