import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { curl } from '../../../src/lab/clients.ts'
import type { Sample } from '../../../src/lab/load-report.ts'
import { type RunningPod, startServer } from '../../../src/lab/pods.ts'
import { pause, waitFor } from '../../../src/lab/wait.ts'
import { echo, http, serviceWith } from '../manifests.ts'
import { countOpen, isInEnvoy, untilOpenInEnvoy } from './connections.ts'
import { AgentLab, skip } from './lab.ts'

describe('when Services and endpoints come, change and go', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let pods: readonly [RunningPod, RunningPod, RunningPod]

  before(async () => {
    lab = await AgentLab.build({ flags: ['--drain-time', '10s'] })
    const [first, ...others] = await lab.pods(['client', 'web-1', 'web-2', 'web-3'], 10)
    client = first!
    pods = others as unknown as typeof pods
    await lab.start()
  })

  after(() => lab?.destroy())

  /** Of so many megabytes, one a second; resolves to the bytes that came. */
  async function startDownload(url: string, megabytes: number): Promise<number> {
    const { stdout } = await curl(client, [
      ...['--max-time', '30', '--limit-rate', '1M', '--output', '/dev/null', '--write-out', '%{size_download}'],
      `${url}data?size=${megabytes}000000`,
    ])
    return Number(stdout)
  }

  async function untilOutOfEnvoy(vip: string): Promise<void> {
    await waitFor(`${vip} out of Envoy`, 90e3, async () => !(await isInEnvoy(lab, vip)), 1000)
    // The page is made once a second.
    await lab.until('no port that drains', async () => (await lab.metric('lightpath_draining_ports')) === 0)
  }

  test('a new Service is served from its first answer on, and is promoted once Envoy has acknowledged it', async () => {
    const url = 'http://10.96.1.1/'
    // Before anybody serves the VIP, connections to it wait: a hundred at most, so that each error is reported.
    const load = await lab.load(client, { url, connections: 100, rate: 50, fresh: true })
    await pause(300)
    // An Envoy that stands still acknowledges nothing.
    lab.envoy.kill('SIGSTOP')
    lab.write('new', serviceWith({ name: 'new', vips: ['10.96.1.1'] }, pods))
    await lab.untilServedBy('kernel', client, url)
    assert.deepEqual(await lab.overlay(), [])
    lab.envoy.kill('SIGCONT')
    await lab.untilServedBy('envoy', client, url)
    await lab.until('all acknowledged', async () => {
      const view = (await lab.explain('default/new'))?.envoyPorts['default/new/http']
      return view?.up && view.resources.every(({ status }) => status === 'acknowledged')
    })
    const { layers, firstErrors } = await load.stop()
    const first = Math.min(...Object.values(layers).map(layer => layer.first))
    assert.deepEqual(
      firstErrors.filter(({ at }) => at > first),
      [],
    )
    assert.ok('envoy' in layers)
  })

  test('going to Envoy and leaving it is told of the Service, with the reason', async () => {
    const options = { name: 'told', vips: ['10.96.1.20'] }
    lab.write('told', serviceWith(options, pods))
    await lab.untilLogged(/Service default\/told.*EnvoyEnabled.*Port http .* node node1: port name http/)
    lab.write('told', serviceWith({ ...options, settings: { 'idle-timeout': '1m' } }, pods))
    await lab.untilLogged(/Service default\/told.*EnvoyDisabled.*: it was changed, and gets another listener in Envoy/)
    await lab.untilServedBy('envoy', client, 'http://10.96.1.20/')
    lab.write('told', serviceWith({ ...options, settings: { overlay: 'false' } }, pods))
    await lab.untilLogged(/Service default\/told.*EnvoyDisabled.*Port http .*: setting overlay: false/)
    lab.remove('told')
  })

  test('a Service with a listener of its own that is deleted cuts no download and no open connection, and leaves Envoy when they are gone', async () => {
    const url = 'http://10.96.1.2/'
    const settings = { 'idle-timeout': '1m' }
    lab.write('deleted', serviceWith({ name: 'deleted', vips: ['10.96.1.2'], settings }, pods))
    await lab.untilServedBy('envoy', client, url)
    const kept = await lab.load(client, { url, connections: 1, rate: 20 })
    const download = startDownload(url, 4)
    await untilOpenInEnvoy(lab, '10.96.1.2', 2)
    lab.remove('deleted')
    await lab.until('a refusal', async () => (await lab.ask(client, url)) === 'curl 7')
    const moved = Date.now()
    assert.deepEqual(await lab.overlay(), ['10.96.1.1 . 80'])
    assert.ok(await isInEnvoy(lab, '10.96.1.2'))
    assert.equal(await download, 4_000_000)
    const { errors, layers } = await kept.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
    assert.ok(layers.envoy!.last > moved)
    await untilOutOfEnvoy('10.96.1.2')
  })

  test('a Service that is set to overlay: false cuts no download, and takes its open connections along without an error', async () => {
    const url = 'http://10.96.1.3/'
    const write = (overlay: 'true' | 'false') =>
      lab.write('down', serviceWith({ name: 'down', vips: ['10.96.1.3'], settings: { overlay } }, pods))
    write('true')
    await lab.untilServedBy('envoy', client, url)
    const kept = await lab.load(client, { url, connections: 2, rate: 20 })
    const download = startDownload(url, 4)
    await untilOpenInEnvoy(lab, '10.96.1.3', 3)
    write('false')
    await lab.untilServedBy('kernel', client, url)
    const moved = Date.now()
    assert.equal(await download, 4_000_000)
    // Once the drain time is over, connections are closed after their next answer.
    await untilOutOfEnvoy('10.96.1.3')
    await lab.until('both at endpoints', async () => {
      const open = await Promise.all(pods.map(pod => countOpen(pod, `sport = :8080 and dst ${client.ip}`)))
      return open.reduce((sum, count) => sum + count, 0) >= 2
    })
    const { errors, layers } = await kept.stop()
    assert.deepEqual([errors, Object.keys(layers).sort()], [{}, ['envoy', 'kernel']])
    assert.ok(layers.envoy!.last > moved)
    lab.remove('down')
  })

  test('a Service that is deleted while no agent is there keeps no connection in Envoy, where each request would fail', async () => {
    lab.write('unseen', serviceWith({ name: 'unseen', vips: ['10.96.1.9'] }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.1.9/')
    // A request each second, on one connection while it is kept.
    const format = '%{stderr}%{http_code} %{num_connects}\\n'
    const args = ['--silent', '--max-time', '5', '--rate', '60/m', '--output', '/dev/null', '--write-out', format]
    const logFile = join(lab.network.directory, 'unseen.log')
    const { processes } = lab.network
    const requests = await processes.spawnIn(client.netns, 'curl', [...args, 'http://10.96.1.9/[1-600]'], { logFile })
    const answers = () => readFileSync(logFile, 'utf8').trim().split('\n')
    await lab.until('a request on an open connection', () => answers().includes('200 0'))
    await lab.agent.down()
    lab.remove('unseen')
    await lab.agent.up()
    await lab.until('a refusal', () => answers().some(answer => answer.startsWith('000 ')))
    await requests.stop()
    assert.equal(answers()[0], '200 1')
    const failed = answers().filter(answer => answer === '503 0')
    assert.ok(failed.length <= 1, String(answers()))
  })

  test('a Service whose last endpoint goes refuses connections at once, and works again when one comes', async () => {
    const url = 'http://10.96.1.4/'
    const options = { name: 'last', vips: ['10.96.1.4'] }
    lab.write('last', serviceWith(options, [pods[0]]))
    await lab.untilServedBy('envoy', client, url)
    lab.write('last', serviceWith(options, [{ ...pods[0], state: 'unready' }]))
    const before: string[] = []
    await lab.until('a refusal', async () => {
      const answer = await lab.ask(client, url)
      if (answer !== 'curl 7') before.push(answer)
      return answer === 'curl 7'
    })
    // Envoy refuses at most the request whose connection it had accepted just before.
    assert.ok(before.filter(answer => answer !== 'web-1 by envoy').length <= 1, String(before))
    lab.write('last', serviceWith(options, [pods[1]]))
    await lab.until('an answer', async () => {
      const answer = await lab.ask(client, url)
      assert.ok(answer === 'curl 7' || answer.startsWith('web-2 by '), answer)
      return answer !== 'curl 7'
    })
    await lab.untilServedBy('envoy', client, url)
    lab.remove('last')
  })

  test('a rolling update of all endpoints under load fails no GET', async () => {
    const url = 'http://10.96.1.5/'
    const options = { name: 'rolled', vips: ['10.96.1.5'] }
    lab.write('rolled', serviceWith(options, [pods[0], pods[1]]))
    await lab.untilServedBy('envoy', client, url)
    const kept = await lab.load(client, { url, connections: 8, rate: 200 })
    const fresh = await lab.load(client, { url, connections: 8, rate: 100, fresh: true })
    // As Kubernetes does it: the new pod is ready, the old one is draining, gone from the slice, and only then ended.
    const roll = async (before: RunningPod, staying: RunningPod, next: RunningPod) => {
      lab.write('rolled', serviceWith(options, [before, staying, next]))
      await lab.until(`an answer of ${next.name}`, async () => (await lab.ask(client, url)) === `${next.name} by envoy`)
      await pause(300)
      lab.write('rolled', serviceWith(options, [{ ...before, state: 'draining' }, staying, next]))
      await pause(300)
      lab.write('rolled', serviceWith(options, [staying, next]))
      await pause(300)
    }
    await roll(pods[0], pods[1], pods[2])
    await roll(pods[1], pods[2], pods[0])
    await roll(pods[2], pods[0], pods[1])
    const reports = [await kept.stop(), await fresh.stop()]
    for (const { errors, endpoints } of reports) {
      assert.deepEqual(errors, {})
      assert.deepEqual(Object.keys(endpoints), ['web-1', 'web-2', 'web-3'])
    }
    lab.remove('rolled')
  })

  test('endpoints that are killed under load and said to be gone a little later fail no GET through Envoy', async () => {
    const url = 'http://10.96.1.6/'
    const options = { name: 'killed', vips: ['10.96.1.6'] }
    const victim = await lab.pod('victim', 20)
    lab.write('killed', serviceWith(options, [pods[0], victim, pods[1]]))
    await lab.untilServedBy('envoy', client, url)
    await lab.until('the victim', async () => (await lab.ask(client, url)) === 'victim by envoy')
    const load = await lab.load(client, { url, connections: 8, rate: 200 })
    await pause(500)
    victim.server.kill('SIGKILL')
    await pause(500)
    lab.write('killed', serviceWith(options, [pods[0], pods[1]]))
    await pause(300)
    await startServer(lab.network, victim, { http: [http.targetPort] })
    lab.write('killed', serviceWith(options, [pods[0], victim, pods[1]]))
    await pause(500)
    assert.deepEqual((await load.stop()).errors, {})
    lab.remove('killed')
  })

  test('a Service port that changes from http to tcp and back, with a listener of its own or not, fails no request', async () => {
    const [name, vip, url] = ['morph', '10.96.1.9', 'http://10.96.1.9/']
    const become = async (appProtocol: string, settings: Readonly<Record<string, string>>, isAlone: boolean) => {
      lab.write(name, serviceWith({ name, vips: [vip], ports: [{ ...http, appProtocol }], settings }, pods))
      await lab.until(`${appProtocol} in Envoy`, async () => {
        const view = (await lab.explain(`default/${name}`))?.envoyPorts[`default/${name}/http`]
        const isOwn = view?.resources.some(resource => resource.type === 'listener' && resource.name === `${vip}:80`)
        return view?.up === true && isOwn === isAlone
      })
      await pause(500)
    }
    await become('http', {}, false)
    const kept = await lab.load(client, { url, connections: 10, rate: 200 })
    const fresh = await lab.load(client, { url, connections: 10, rate: 200, fresh: true })
    await become('tcp', { overlay: 'true' }, true)
    await become('http', {}, false)
    await become('http', { 'idle-timeout': '1m' }, true)
    await become('http', {}, false)
    for (const { firstErrors } of [await kept.stop(), await fresh.stop()]) assert.deepEqual(firstErrors, [])
    lab.remove(name)
  })

  test('open connections to a port that gets another number or name end with an answer, and new ones go to what there is', async () => {
    const [name, vip, url] = ['number', '10.96.1.10', 'http://10.96.1.10/']
    const write = (port: typeof http) => lab.write(name, serviceWith({ name, vips: [vip], ports: [port] }, pods))
    write(http)
    await lab.untilServedBy('envoy', client, url)
    const kept = await lab.load(client, { url, connections: 10, rate: 200 })
    await untilOpenInEnvoy(lab, vip, 10)
    write({ ...http, name: 'http-web' })
    await lab.until('its new name in Envoy', async () => {
      return (await lab.explain(`default/${name}`))?.envoyPorts[`default/${name}/http-web`]?.up === true
    })
    await pause(500)
    const moved = Date.now()
    write({ ...http, name: 'http-web', port: 81 })
    await lab.untilServedBy('envoy', client, 'http://10.96.1.10:81/')
    // Each connection has an answer more until then.
    await pause(5000)
    const { firstErrors } = await kept.stop()
    assert.notEqual(firstErrors.length, 0)
    const isRefused = ({ error, at, ms }: Sample) => error === 'ECONNREFUSED' && at + ms > moved
    assert.deepEqual(
      firstErrors.filter(sample => !isRefused(sample)),
      [],
    )
    lab.remove(name)
  })

  test('a Service port that changes its protocol, number or VIP is served at each step', async () => {
    const options = { name: 'shape', vips: ['10.96.1.7'] }
    lab.write('shape', serviceWith(options, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.1.7/')
    // Renamed to plain TCP: the same port by the kernel.
    lab.write('shape', serviceWith({ ...options, ports: [{ ...http, name: 'plain' }] }, pods))
    await lab.untilServedBy('kernel', client, 'http://10.96.1.7/')
    lab.write('shape', serviceWith({ ...options, ports: [{ ...http, port: 8000 }, echo] }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.1.7:8000/')
    assert.match(await lab.ask(client, 'http://10.96.1.7/'), /^curl /)
    lab.write('shape', serviceWith({ ...options, vips: ['10.96.1.8'] }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.1.8/')
    assert.match(await lab.ask(client, 'http://10.96.1.7:8000/'), /^curl /)
    // And another Service takes the old VIP at once, while the connections of the first may still be there.
    lab.write('successor', serviceWith({ name: 'successor', vips: ['10.96.1.7'] }, [pods[2]]))
    await lab.untilServedBy('envoy', client, 'http://10.96.1.7/')
    assert.equal(await lab.ask(client, 'http://10.96.1.7/'), 'web-3 by envoy')
    assert.match(await lab.ask(client, 'http://10.96.1.8/'), / by envoy$/)
    // Both swap, in one file, so in one go.
    lab.remove('successor')
    lab.write('shape', [
      ...serviceWith({ name: 'shape', vips: ['10.96.1.7'] }, [pods[0]]),
      ...serviceWith({ name: 'successor', vips: ['10.96.1.8'] }, [pods[1]]),
    ])
    await lab.until('the swap', async () => {
      const answers = [await lab.ask(client, 'http://10.96.1.7/'), await lab.ask(client, 'http://10.96.1.8/')]
      return `${answers}` === 'web-1 by envoy,web-2 by envoy'
    })
    await lab.until('no problem', async () => (await lab.problems('default/successor')).length === 0)
  })
})
