import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { adminSocket } from '../../../../src/envoy/program/sockets.ts'
import type { LoadReport } from '../../../../src/lab/load-report.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import type { Supervised } from '../../../../src/lab/supervisor.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

const vips = ['10.96.0.10', 'fd00:96::10']
const urls = ['http://10.96.0.10/', 'http://[fd00:96::10]/']
const [url] = urls as [string]
const instances = { first: 1, second: 2 } as const
type ExternalDestination = keyof typeof instances

describe('one Envoy follows another', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let web: readonly RunningPod[]

  before(async () => {
    lab = await AgentLab.build()
    ;[client, ...web] = (await lab.pods(['client', 'web-1', 'web-2'], 10)) as [RunningPod, ...RunningPod[]]
    lab.write('web', serviceWith({ name: 'web', vips }, web))
  })

  after(() => lab?.destroy())

  /** Envoy is alone, in the first place. */
  beforeEach(async () => {
    await lab.follower.down('SIGKILL')
    await lab.start()
    for (const each of urls) await lab.untilServedBy('envoy', client, each)
    await untilListening('first')
    await lab.until('one Envoy', async () => (await connected()) === 1)
  })

  /** What the admin interface of the Envoy in this place answers; '' where there is none. */
  async function admin(place: ExternalDestination, path: string, ...args: readonly string[]): Promise<string> {
    const socket = adminSocket({ directory: lab.envoySockets }, instances[place]).path
    const curl = ['--silent', '--max-time', '5', '--unix-socket', socket, ...args, `http://envoy${path}`]
    return (await lab.on('curl', curl)).stdout
  }

  function untilListening(place: ExternalDestination, listens = true): Promise<unknown> {
    return lab.until(`the ${place} Envoy with${listens ? '' : 'out'} the redirect port`, async () => {
      const listeners = await admin(place, '/listeners')
      const has = ['redirect-IPv4', 'redirect-IPv6'].map(name => listeners.includes(`${name}::`))
      return listeners.includes('canary::') && has.every(each => each === listens)
    })
  }

  async function connected(): Promise<number> {
    const { stdout } = await lab.lightpath('status', '--socket', lab.socket, '--output', 'json')
    return stdout === '' ? 0 : JSON.parse(stdout).envoy.clients.length
  }

  /** Steady new and kept connections to the Service, of both families. */
  async function startLoads() {
    const loads = [
      await lab.load(client, { url: urls[0]!, connections: 20, rate: 300 }),
      await lab.load(client, { url: urls[0]!, connections: 20, rate: 200, fresh: true }),
      await lab.load(client, { url: urls[1]!, connections: 10, rate: 100, fresh: true }),
    ]
    return { stop: (): Promise<LoadReport[]> => Promise.all(loads.map(load => load.stop())) }
  }

  /** As images/envoy-drain and the kubelet do. */
  async function end(place: ExternalDestination, envoy: Supervised): Promise<void> {
    await admin(place, '/healthcheck/fail', '--request', 'POST')
    await untilListening(place, false)
    await lab.until('no connection in it', async () => {
      const stats = await admin(place, '/stats?filter=^listener\\..*downstream_cx_active$')
      const others = stats.split('\n').filter(line => line !== '' && !line.startsWith('listener.127.'))
      return others.length > 0 && others.every(line => line.endsWith(': 0'))
    })
    await envoy.down()
  }

  test('under 600 requests/s: no request is lost, and an Envoy answers every one', async () => {
    const loads = await startLoads()
    await lab.follower.up()
    await untilListening('second')
    await pause(500)
    await end('first', lab.envoy)
    await pause(500)
    // And back.
    await lab.envoy.up()
    await untilListening('first')
    await end('second', lab.follower)
    await pause(500)
    for (const { errors, layers } of await loads.stop()) {
      assert.deepEqual(errors, {})
      assert.deepEqual(Object.keys(layers), ['envoy'])
    }
  })

  test('one of two killed: the other serves on, and only what was under way in the one that died fails', async () => {
    await lab.follower.up()
    await untilListening('second')
    const loads = await startLoads()
    await pause(1000)
    await lab.envoy.down('SIGKILL')
    await pause(2000)
    const reports = await loads.stop()
    const connections = 50
    const failed = reports.flatMap(({ errors }) => Object.values(errors)).reduce((sum, count) => sum + count, 0)
    assert.ok(failed <= connections, `${failed} failed`)
    for (const { layers } of reports) assert.deepEqual(Object.keys(layers), ['envoy'])
  })

  test('one that hangs beside another leaves all to the kernel layer, until it goes on', async () => {
    await lab.follower.up()
    await untilListening('second')
    lab.envoy.kill('SIGSTOP')
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    assert.match(await lab.ask(client, url), /^web-\d by kernel$/)
    lab.envoy.kill('SIGCONT')
    await lab.untilServedBy('envoy', client, url)
  })

  test('a Service that comes while there are two goes to Envoy when both know it', async () => {
    await lab.follower.up()
    await untilListening('second')
    lab.follower.kill('SIGSTOP')
    lab.write('new', serviceWith({ name: 'new', vips: ['10.96.0.11'] }, web))
    const view = async () => (await lab.explain('default/new'))?.envoyPorts['default/new/http']
    await lab.until('the first to have it', async () =>
      (await admin('first', '/config_dump')).includes('10.96.0.11:80'),
    )
    assert.equal((await view())?.up, false)
    lab.follower.kill('SIGCONT')
    await lab.untilServedBy('envoy', client, 'http://10.96.0.11/')
    lab.remove('new')
  })

  test('the agent killed while there are two loses no request, and its return neither', async () => {
    await lab.follower.up()
    await untilListening('second')
    const loads = await startLoads()
    await lab.agent.down('SIGKILL')
    await pause(500)
    await lab.agent.up()
    await lab.until('both', async () => (await connected()) === 2)
    await pause(1000)
    for (const { errors, layers } of await loads.stop()) {
      assert.deepEqual(errors, {})
      assert.deepEqual(Object.keys(layers), ['envoy'])
    }
  })

  test('where Linux does not hand over waiting connections, the next one serves when the one before has ended', async () => {
    await lab.on('sysctl', ['--quiet', '--write', 'net.ipv4.tcp_migrate_req=0'])
    const loads = await startLoads()
    await lab.follower.up()
    await lab.until('both', async () => (await connected()) === 2)
    await pause(500)
    await untilListening('second', false)
    await admin('first', '/healthcheck/fail', '--request', 'POST')
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    await pause(1000)
    await lab.envoy.down()
    await untilListening('second')
    await lab.untilServedBy('envoy', client, url)
    for (const { errors } of await loads.stop()) assert.deepEqual(errors, {})
    await lab.on('sysctl', ['--quiet', '--write', 'net.ipv4.tcp_migrate_req=1'])
  })
})
