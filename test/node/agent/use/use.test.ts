import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { countOpen, untilOpenInEnvoy } from '../connections.ts'
import { AgentLab, skip } from '../lab.ts'

const names = ['one', 'two', 'three'] as const
type Name = (typeof names)[number]
const vips: Readonly<Record<Name, string>> = { one: '10.96.8.1', two: '10.96.8.2', three: '10.96.8.3' }

describe('a node whose Envoy has not room for all ports', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let web: RunningPod

  before(async () => {
    lab = await AgentLab.build({ flags: ['--envoy-ports', '2', '--envoy-endpoints-per-port', '2'] })
    const pods = await lab.pods(['client', 'web-1'], 10)
    client = pods[0]!
    web = pods[1]!
    for (const name of names) write(name)
    await lab.start()
    await lab.until('the Services', async () => (await lab.explain('default/three')) !== undefined)
  })

  after(() => lab?.destroy())

  const write = (name: Name, settings = {}) =>
    lab.write(name, serviceWith({ name, vips: [vips[name]], settings }, [web]))
  const urlOf = (name: Name) => `http://${vips[name]}/`
  const inEnvoy = async () => (await lab.overlay()).map(entry => names.find(name => entry.startsWith(`${vips[name]} `)))
  const untilInEnvoy = (...wanted: readonly Name[]) =>
    lab.until(`${wanted} in Envoy`, async () => [...(await inEnvoy())].sort().join() === [...wanted].sort().join())

  /** As if the port's last new connection were so long ago. */
  const calledAgo = async (name: Name, ago: '1h') => {
    const key = `${vips[name]} . 80`
    const expires = { '1h': '23h' }[ago]
    await lab.nft('delete', 'element', 'ip', 'lightpath', 'called', `{ ${key} }`)
    await lab.nft('add', 'element', 'ip', 'lightpath', 'called', `{ ${key} timeout 1d expires ${expires} }`)
  }

  test('nobody was called yet, so nobody is there, and the first call is served by the kernel layer at once', async () => {
    await untilInEnvoy()
    assert.equal(await lab.ask(client, urlOf('one')), 'web-1 by kernel')
  })

  test('a call from outside, by node port, counts as well, and one of the node itself', async () => {
    lab.writeNode()
    const nodePort = { name: 'http', port: 80, targetPort: 8080, nodePort: 30_090 }
    const outside = { name: 'outside', vips: ['10.96.8.8'], ports: [nodePort], settings: { external: 'true' } }
    lab.write('outside', serviceWith({ ...outside, spec: { type: 'NodePort' } }, [web]))
    await lab.untilServedBy('envoy', client, `http://${lab.node.address}:30090/`)
    lab.remove('outside')
    await lab.ask(lab.node, urlOf('two'))
    await untilInEnvoy('one', 'two')
  })

  test('who was called once is balanced by Envoy from then on', async () => {
    await lab.untilServedBy('envoy', client, urlOf('one'))
    await lab.untilServedBy('envoy', client, urlOf('two'))
    await untilInEnvoy('one', 'two')
  })

  test('who is called while all that are there were called just now waits, and nobody takes turns', async () => {
    for (let round = 0; round < 20; round++) {
      for (const name of names) await lab.ask(client, urlOf(name))
      assert.deepEqual((await inEnvoy()).sort(), ['one', 'two'])
    }
    const { stdout } = await lab.lightpath('explain', 'default/three', '--socket', lab.socket)
    assert.match(stdout, /kernel for now; waits for Envoy as http: not called on this node of late/)
    const services = await lab.lightpath('services', '--socket', lab.socket)
    assert.match(services.stdout, /three .* kernel, waits for Envoy .* not called on this node of late/)
    const status = await lab.lightpath('status', '--socket', lab.socket)
    assert.match(status.stdout, /not called on this node of late/)
    await lab.untilMetric('lightpath_waiting_ports', 1)
    const metrics = await lab.until('statistics of ports in Envoy', async () => {
      const page = await lab.page('/metrics', 9001)
      return page.includes('service="one"') ? page : undefined
    })
    assert.doesNotMatch(metrics, /service="three"/)
  })

  test('what is always there takes room from another, whose open connections lose nothing', async () => {
    const loads = await Promise.all(
      (['one', 'two'] as const).map(name => lab.load(client, { url: urlOf(name), connections: 2, rate: 20 })),
    )
    for (const name of ['one', 'two'] as const) await untilOpenInEnvoy(lab, vips[name], 2)
    write('three', { overlay: 'always' })
    await lab.untilServedBy('envoy', client, urlOf('three'))
    await lab.until('room', async () => (await inEnvoy()).length === 2)
    for (const load of loads) {
      const { layers, errors } = await load.stop()
      assert.deepEqual(errors, {})
      assert.ok(layers.envoy!.requests > 0)
    }
    write('three')
  })

  test('the agent, started anew, and Envoy have those again that were there', async () => {
    const before = (await inEnvoy()).sort()
    await lab.agent.down()
    await lab.agent.up()
    await lab.untilEnvoyIsUp()
    await lab.untilServedBy('envoy', client, urlOf('three'))
    await lab.until('all that were there', async () => (await inEnvoy()).sort().join() === before.join())
    await lab.envoy.down()
    assert.equal(await lab.ask(client, urlOf('three')), 'web-1 by kernel')
    await lab.envoy.up()
    await lab.untilServedBy('envoy', client, urlOf('three'))
    await lab.until('all that were there', async () => (await inEnvoy()).sort().join() === before.join())
  })

  test('who was not called for long leaves for who is called now', async () => {
    const [stays, leaves] = ['three', (await inEnvoy()).find(name => name !== 'three')!] as const
    const comes = leaves === 'one' ? 'two' : 'one'
    await lab.agent.down()
    await calledAgo(leaves, '1h')
    await lab.agent.up()
    await lab.ask(client, urlOf(comes))
    await untilInEnvoy(stays, comes)
    await lab.untilServedBy('envoy', client, urlOf(comes))
  })

  test('once all fit again all are there', async () => {
    lab.remove('two')
    await untilInEnvoy('one', 'three')
  })

  for (const rebalance of ['false', 'true'] as const) {
    const what = rebalance === 'true' ? 'end once, so that clients come to Envoy' : 'go on, and explain counts them'
    test(`with rebalance: ${rebalance} connections that began below ${what}`, async () => {
      write('one', { overlay: 'false' })
      await untilInEnvoy('three')
      await lab.untilServedBy('kernel', client, urlOf('one'))
      const load = await lab.load(client, { url: urlOf('one'), connections: 2, rate: 20 })
      const atWeb = () => countOpen(web, `sport = :8080 and dst ${client.ip}`)
      await lab.until('its connections', async () => (await atWeb()) === 2)
      write('one', { rebalance })
      await untilInEnvoy('one', 'three')
      const below = async () => (await lab.explain('default/one'))?.connectionsBelow['default/one/http'] ?? 0
      await lab.until('the connections below', async () => (await below()) === (rebalance === 'true' ? 0 : 2))
      if (rebalance === 'true') await untilOpenInEnvoy(lab, vips.one, 2)
      else await pause(500)
      const { layers, errors } = await load.stop()
      if (rebalance === 'false') assert.deepEqual([errors, Object.keys(layers)], [{}, ['kernel']])
      else {
        assert.ok(layers.envoy!.requests > 0)
        assert.ok(Object.values(errors).reduce((sum, count) => sum + count, 0) <= 2, JSON.stringify(errors))
      }
    })
  }

  test('Envoy has a part of the endpoints of a large port, the kernel layer all, and who goes of the part is replaced', async () => {
    const pods = [web, ...(await lab.pods(['web-2', 'web-3'], 20))]
    const many = { name: 'many', vips: ['10.96.8.9'], settings: { overlay: 'always' } }
    lab.write('many', serviceWith(many, pods))
    const url = 'http://10.96.8.9/'
    await lab.untilServedBy('envoy', client, url)
    const answering = async () => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => lab.ask(client, url)))
      return [...new Set(answers)].sort()
    }
    const part = await answering()
    assert.equal(part.length, 2)
    for (const answer of part) assert.match(answer, /^web-\d by envoy$/)
    const { kernelPorts } = (await lab.explain('default/many'))!
    const slots = kernelPorts['default/many/http']!.elements.filter(element => element.startsWith('endpoints-tcp'))
    assert.equal(slots.length, 3)
    const stays = pods.filter(({ name }) => name !== part[0]!.split(' ')[0])
    lab.write('many', serviceWith(many, stays))
    const wanted = stays.map(({ name }) => `${name} by envoy`).sort()
    await lab.until('the two others', async () => (await answering()).join() === wanted.join())
    lab.remove('many')
    await untilInEnvoy('one', 'three')
  })

  for (const [budget, there] of [
    ['0', []],
    ['1', ['three']],
    ['all', ['one', 'three']],
  ] as const) {
    test(`with a budget of ${budget} Envoy has ${there.length} of two ports`, async () => {
      await lab.agent.down()
      await calledAgo('one', '1h')
      const agent = lab.agentWith({ flags: ['--envoy-ports', budget] })
      await agent.up()
      try {
        await lab.untilEnvoyIsUp()
        if (there.length > 0) await lab.untilServedBy('envoy', client, urlOf('three'))
        await untilInEnvoy(...there)
        assert.match(await lab.ask(client, urlOf('one')), /^web-1 by /)
      } finally {
        await agent.down()
      }
    })
  }
})
