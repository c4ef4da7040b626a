import assert from 'node:assert/strict'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { render } from '../../../src/commands/look/explain.ts'
import { askTcp } from '../../../src/lab/clients.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { pause } from '../../../src/lab/wait.ts'
import { echo, http, service, serviceWith, slice } from '../manifests.ts'
import type { Bootstrap } from './bootstrap.ts'
import { untilOpenInEnvoy } from './connections.ts'
import { AgentLab, skip } from './lab.ts'

describe('what users write, however wrong', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let pods: readonly RunningPod[]
  const url = 'http://10.96.2.1/'

  before(async () => {
    lab = await AgentLab.build({ bootstrap: occupy('10.96.2.9') })
    const [first, ...others] = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = first!
    pods = others
    lab.write('good', serviceWith({ name: 'good', vips: ['10.96.2.1'] }, pods))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
  })

  after(() => lab?.destroy())

  test('a Service that Envoy refuses stays in the kernel layer, its owner is told, and its neighbours go up', async () => {
    lab.write('mixed', [
      ...serviceWith({ name: 'before', vips: ['10.96.2.8'] }, pods),
      ...serviceWith({ name: 'refused', vips: ['10.96.2.9'], settings: { 'idle-timeout': '1m' } }, pods),
      ...serviceWith({ name: 'after', vips: ['10.96.2.10'] }, pods),
    ])
    await lab.untilServedBy('envoy', client, 'http://10.96.2.8/')
    await lab.untilServedBy('envoy', client, 'http://10.96.2.10/')
    const problem = await lab.until('a problem', async () => (await lab.problems('default/refused'))[0])
    assert.match(problem, /^LP301 Envoy refused listener 10\.96\.2\.9:80: .*duplicate address/)
    assert.match(await lab.ask(client, 'http://10.96.2.9/'), / by kernel$/)

    const { stdout } = await lab.lightpath('explain', 'default/refused', '--socket', lab.socket)
    assert.match(stdout, /LP301 Envoy refused listener/)
    assert.match(stdout, /layer: kernel for now; meant for Envoy as http/)
    assert.match(stdout, /listener +10\.96\.2\.9:80 +\S+ +refused: .*duplicate address/)
    const rejected = 'lightpath_xds_rejected_resources_total{service_port="default/refused/http"}'
    await lab.until('its rejection', async () => (await lab.metric(rejected))! >= 1)
    await lab.until('its NACK', async () => (await lab.metric('lightpath_xds_nacks_total{type="Listener"}'))! >= 1)
    await lab.untilMetric('lightpath_problems{code="LP301"}', 1)
    assert.deepEqual(await lab.problems('default/before'), [])

    // Its owner gives it another address, and all is well.
    lab.write('mixed', serviceWith({ name: 'refused', vips: ['10.96.2.11'] }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.2.11/')
    await lab.until('no problem', async () => (await lab.problems('default/refused')).length === 0)
    lab.remove('mixed')
  })

  test('broken files and a vanished directory take nothing from the Services that were good', async () => {
    const text = serviceWith({ name: 'edited', vips: ['10.96.2.12'] }, pods).map(object => JSON.stringify(object))
    lab.writeFile('edited.yaml', text.join('\n---\n'))
    await lab.untilServedBy('envoy', client, 'http://10.96.2.12/')
    const load = await lab.load(client, { url, connections: 8, rate: 100, fresh: true })

    lab.writeFile('edited.yaml', 'kind: Service\n\tmetadata: {')
    await lab.untilLogged(/LP101.*edited\.yaml:\d.*"problem"/)
    assert.match(await lab.ask(client, 'http://10.96.2.12/'), / by envoy$/)

    // A writer that writes into the file, and pauses.
    const file = join(lab.manifests, 'edited.yaml')
    writeFileSync(file, text.join('\n---\n').slice(0, 300))
    await pause(300)
    assert.match(await lab.ask(client, 'http://10.96.2.12/'), / by envoy$/)
    writeFileSync(file, text.join('\n---\n'))
    await lab.untilLogged(/LP101.*edited\.yaml:\d.*"problem is over"/)

    const elsewhere = `${lab.manifests}-away`
    renameSync(lab.manifests, elsewhere)
    await lab.untilLogged(/LP104/)
    assert.match(await lab.ask(client, url), / by envoy$/)
    renameSync(elsewhere, lab.manifests)
    rmSync(file)
    await lab.until('the change', async () => (await lab.explain('default/edited')) === undefined)
    const { errors, layers } = await load.stop()
    assert.deepEqual([errors, Object.keys(layers)], [{}, ['envoy']])
    await lab.untilMetric('lightpath_problems{code="LP104"}', undefined)
  })

  test('of two Services that claim one VIP and port the older keeps it, the other is told, and inherits it', async () => {
    const vips = ['10.96.2.20']
    lab.write('first', created('2026-01-01T00:00:00Z', serviceWith({ name: 'first', vips }, [pods[0]!])))
    await lab.untilServedBy('envoy', client, 'http://10.96.2.20/')
    lab.write('a-second', created('2026-01-02T00:00:00Z', serviceWith({ name: 'a-second', vips }, [pods[1]!])))
    const problem = await lab.until('a problem', async () => (await lab.problems('default/a-second'))[0])
    assert.match(problem, /^LP211 .*10\.96\.2\.20.*default\/first/)
    assert.equal(await lab.ask(client, 'http://10.96.2.20/'), 'web-1 by envoy')
    const kept = await lab.load(client, { url: 'http://10.96.2.20/', connections: 4, rate: 100 })
    await untilOpenInEnvoy(lab, '10.96.2.20', 4)
    const fresh = await lab.load(client, { url: 'http://10.96.2.20/', connections: 8, rate: 100, fresh: true })
    lab.remove('first')
    await lab.until('the heir', async () => (await lab.ask(client, 'http://10.96.2.20/')) === 'web-2 by envoy')
    // One worker of Envoy may learn of it a moment after the other.
    await pause(1000)
    const settled = Date.now()
    await pause(1000)
    const { errors, endpoints } = await kept.stop()
    assert.deepEqual([errors, (await fresh.stop()).errors], [{}, {}])
    // Requests on open connections go to the heir, too: it has the VIP.
    const [former, heir] = [endpoints['web-1']!.last, endpoints['web-2']!.last]
    assert.ok(former < settled && former < heir, `${former} ${settled} ${heir}`)
    await lab.until('no problem', async () => (await lab.problems('default/a-second')).length === 0)
    lab.remove('a-second')
  })

  test('Services whose ports are those of the bound listeners work as any other, through Envoy and through the kernel', async () => {
    const ports = [
      { ...http, port: 1666 },
      { ...http, name: 'http-next', port: 1667 },
      { ...echo, port: 15000 },
    ]
    lab.write('same', serviceWith({ name: 'same', vips: ['10.96.2.21', 'fd00:96:2::21'], ports }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.2.21:1666/')
    await lab.untilServedBy('envoy', client, 'http://[fd00:96:2::21]:1666/')
    await lab.untilServedBy('envoy', client, 'http://10.96.2.21:1667/')
    assert.match(await askTcp(client, '10.96.2.21', 15000, 'hello'), /^web-\d\nhello\n$/)
    lab.write('same', serviceWith({ name: 'same', vips: ['10.96.2.21'], ports, settings: { overlay: 'false' } }, pods))
    await lab.untilServedBy('kernel', client, 'http://10.96.2.21:1666/')
    lab.remove('same')
  })

  test("Envoy's ports on the node itself are no endpoints, whatever an EndpointSlice says, and the owner is told", async () => {
    const ownAddress = { ...pods[0]!, ip: lab.node.address }
    for (const targetPort of [1666, 1667]) {
      const options = { name: 'guarded', vips: ['10.96.2.24'], ports: [{ ...http, name: 'tcp', targetPort }] }
      lab.write('guarded', serviceWith(options, [ownAddress]))
      const ofPort = new RegExp(`^LP222 endpoint \\S+:${targetPort}: it is a port of Lightpath itself on this node$`)
      await lab.until('a problem', async () => (await lab.problems('default/guarded')).some(text => ofPort.test(text)))
      // Refused as any Service without endpoints.
      await lab.until('its refusal', async () => (await lab.ask(client, 'http://10.96.2.24/')) === 'curl 7')
    }
    lab.remove('guarded')
  })

  test('names of the longest length with every legal character work everywhere', async () => {
    const namespace = `n-${'0123456789-'.repeat(6)}`.slice(0, 62).concat('z')
    const name = `a-${'bcdefghijklmnopqrstuvwxyz0123456789-'.repeat(2)}`.slice(0, 62).concat('9')
    const port = 'http-0-a-9-z-xy'
    assert.deepEqual([namespace.length, name.length, port.length], [63, 63, 15])
    const options = { name, namespace, vips: ['10.96.2.22'], ports: [{ ...http, name: port }] }
    lab.write('long', serviceWith({ ...options, settings: { 'access-log': 'true', 'num-retries': '7' } }, pods))
    await lab.untilServedBy('envoy', client, 'http://10.96.2.22/')
    const id = `${namespace}/${name}/${port}`
    const explanation = await lab.until("its endpoints' health", async () => {
      const found = await lab.explain(`${namespace}/${name}`)
      return Object.values(found?.health[id] ?? {}).length === 2 ? found : undefined
    })
    assert.equal(explanation.envoyPorts[id]?.up, true)
    assert.deepEqual(explanation.problems, [])
    assert.deepEqual(
      explanation.service.ports[0]!.settings.filter(({ from }) => from !== 'default').map(({ value }) => value),
      ['true', '7'],
    )
    const sample = `lightpath_requests_total{namespace="${namespace}",service="${name}",port="${port}",code_class="2xx"}`
    await lab.until('its metric', async () => (await lab.metric(sample))! >= 1)
    lab.remove('long')
  })

  test('a Service of 5,000 endpoints is served by either layer, and one endpoint changes as quickly as any', async () => {
    const crowd = await lab.pod('crowd', 40)
    // All of 10.245.0.0/16 is this pod.
    await lab.on('ip', ['route', 'add', '10.245.0.0/16', 'dev', crowd.hostLink])
    await lab.network.processes
      .spawnIn(crowd.netns, 'ip', ['route', 'add', 'local', '10.245.0.0/16', 'dev', 'lo'])
      .then(child => child.exited)
    const ports = [http, echo]
    const options = { name: 'crowd', vips: ['10.96.2.23'], ports }
    const endpoint = (index: number) => ({ ...crowd, ip: `10.245.${index >> 8}.${index & 255}` })
    const slices = (from: number) =>
      Array.from({ length: 5 }, (_, part) => {
        const endpoints = Array.from({ length: 1000 }, (_, index) => endpoint(from + part * 1000 + index))
        return named(slice(options, endpoints), `crowd-${part}`)
      })
    lab.write('crowd', [service(options), ...slices(1)])
    await lab.untilServedBy('envoy', client, 'http://10.96.2.23/')
    assert.equal(await askTcp(client, '10.96.2.23', 7, 'hello'), 'crowd\nhello\n')
    lab.write('crowd', [service(options), ...slices(2)])
    await lab.until('5,000 other endpoints', async () => {
      const map = await lab.nft('list', 'map', 'ip', 'lightpath', 'endpoints-tcp')
      return map.includes(': 10.245.19.137 . 7') && !map.includes(': 10.245.0.1 . 7')
    })
    const load = await lab.load(client, { url: 'http://10.96.2.23/', connections: 4, requests: 100, fresh: true })
    assert.deepEqual((await load.report).errors, {})
    assert.deepEqual(await lab.problems('default/crowd'), [])
    lab.remove('crowd')
    await lab.until('their end', async () => (await lab.explain('default/crowd')) === undefined)
  })

  test('objects that cannot be served are named with their reason, and their neighbours are served', async () => {
    const broken = { name: 'broken', vips: ['10.96.2.30'] }
    lab.write('strange', [
      { ...service({ name: 'no-ports', vips: ['10.96.2.31'], ports: [] }) },
      service({ name: 'headless', vips: ['None'] }),
      { ...service({ name: 'external', vips: [], spec: { type: 'ExternalName', externalName: 'example.com' } }) },
      slice({ name: 'nobody', vips: [] }, pods),
      service(broken),
      named(slice({ ...broken, ports: [{ ...http, targetPort: 0 }] }, pods), 'broken-port'),
      named(slice(broken, [{ ...pods[0]!, ip: pods[0]!.ip6 }]), 'broken-family'),
      slice(broken, pods),
      labelled(service({ name: 'opted-out', vips: ['10.96.2.33'] }), { 'lightpath.cloud/proxy': 'disabled' }),
      ...serviceWith(
        {
          name: 'garbage',
          vips: ['10.96.2.32'],
          settings: { 'num-retries': '-1', 'idle-timeout': '99999999999h', 'lb-policy': '\u0000', nonsense: 'x' },
        },
        pods,
      ),
    ])
    await lab.untilServedBy('envoy', client, 'http://10.96.2.30/')
    await lab.untilServedBy('envoy', client, 'http://10.96.2.32/')
    for (const what of [/"LP221".*broken-port.*port 0/, /"LP221".*broken-family.*fd00:244:1::11/])
      await lab.untilLogged(what)
    const codes = (await lab.explain('default/garbage'))!.problems.map(({ code }) => code)
    assert.deepEqual(codes.sort(), ['LP201', 'LP202', 'LP202', 'LP202'])
    const reasons = ['no-ports', 'headless', 'external'].map(async name => {
      return (await lab.explain(`default/${name}`))?.service.ignored
    })
    assert.deepEqual(await Promise.all(reasons), [
      'it has no ports',
      'it is headless: DNS gives out the endpoints themselves',
      'ExternalName Services have no VIP; DNS answers for them',
    ])
    const [, first] = render((await lab.explain('default/opted-out'))!).split('\n')
    assert.equal(
      first!.trim(),
      'Not for Envoy: label lightpath.cloud/proxy: disabled. The kernel layer serves all of it',
    )
  })
})

function labelled(object: object, labels: Readonly<Record<string, string>>): object {
  const { metadata } = object as { metadata: object }
  return { ...object, metadata: { ...metadata, labels } }
}

function named(object: object, name: string): object {
  const { metadata } = object as { metadata: object }
  return { ...object, metadata: { ...metadata, name } }
}

function created(creationTimestamp: string, objects: readonly object[]): readonly object[] {
  return objects.map(object => {
    const { metadata } = object as { metadata: object }
    return { ...object, metadata: { ...metadata, creationTimestamp } }
  })
}

/** Somebody's own listener in Envoy's bootstrap, at the address of a Service. */
function occupy(vip: string) {
  return ({ staticResources }: Bootstrap) => {
    const type = 'type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config'
    staticResources.listeners.push({
      name: 'not-ours',
      address: { socketAddress: { address: vip, portValue: 80 } },
      bindToPort: false,
      filterChains: [{ filters: [{ name: 'direct_response', typedConfig: { '@type': type } }] }],
    })
  }
}
