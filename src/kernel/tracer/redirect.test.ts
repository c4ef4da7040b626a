import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PortState } from '../../plan/ports/port.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { calledSet } from '../nftables/elements/elements.ts'
import { renewHeartbeat } from '../nftables/heartbeat.ts'
import { planRuleset } from '../nftables/render.ts'
import { envoyAlive, envoyDead, http, modelOf, onlyKernel, packetTo, states } from '../testing/packets.ts'
import { adding, portState, testOptions } from '../testing/states.ts'
import { NftablesModel } from './model.ts'

test('where use is recorded, a new connection to a port for Envoy is, be it in Envoy or not, and no other', () => {
  const waiting = { layer: { wants: 'kernel', reason: '', waitsAs: 'http' } } as const
  const waits = portState('a/waits/http', '10.0.0.3', ['10.1.0.1:8080'], waiting)
  const six = portState('a/six/http', 'fd00::1', ['fd01::1 8080'], waiting)
  const model = new NftablesModel()
  const options = { ...testOptions, tracksUse: true }
  model.apply(planRuleset([http, onlyKernel, waits, six], undefined, options))
  for (const family of ['ip', 'ip6'] as const) model.apply(renewHeartbeat(family, 0))
  const called = () => [...model.keys('ip', calledSet)!, ...model.keys('ip6', calledSet)!]
  for (const state of [http, waits, six]) {
    model.trace(packetTo(state, { isNew: false }), envoyAlive)
    assert.ok(!called().includes(keyOf(state)))
    model.trace(packetTo(state, { from: state === six ? 'node' : 'pod' }), envoyDead)
    assert.ok(called().includes(keyOf(state)))
  }
  assert.equal(model.trace(packetTo(waits), envoyAlive).verdict, 'forward')
  model.trace(packetTo(onlyKernel), envoyAlive)
  assert.equal(called().length, 3)
})

const keyOf = ({ vip, port }: PortState) => addressPortBytes({ ip: vip, port: port.port })

test('A pod reaches Envoy, at the address of the VIP, for the ports in the overlay and for no others', () => {
  fc.assert(
    fc.property(states, fc.nat(1), (ports, odd) => {
      const sharesListener = (state: PortState) => ports.indexOf(state) % 2 === odd
      const model = modelOf(ports, sharesListener)
      for (const state of ports) {
        const { verdict, destination, mark, connectionMark, envoyPort } = model.trace(packetTo(state), envoyAlive)
        const isUp = state.layer.wants === 'envoy' && state.port.protocol === 'TCP' && state.endpoints.length > 0
        assert.equal(verdict === 'tproxy', isUp)
        if (isUp)
          assert.deepEqual(
            { destination, mark, connectionMark, envoyPort },
            {
              destination: state.vip,
              mark: 0x8000,
              connectionMark: 0x8000,
              envoyPort: sharesListener(state) ? 1667 : 1666,
            },
          )
        else assert.equal(mark, 0)
      }
    }),
  )
})

test('While Envoy is dead, a new connection of a pod takes the kernel layer', () => {
  const { verdict, destination, port } = modelOf([http]).trace(packetTo(http), envoyDead)
  assert.deepEqual({ verdict, destination, port }, { verdict: 'forward', destination: '10.1.0.1', port: 8080 })
})

test('A connection of Envoy stays with Envoy, also when its port has left the overlay', () => {
  const packet = packetTo(http, { isNew: false, connectionMark: 0x8000 })
  assert.equal(modelOf([]).trace(packet, envoyAlive).mark, 0x8000)
})

test('What a client repeats before Envoy has answered goes to Envoy, whatever has become of the port', () => {
  const gone = portState('a/gone/http', '10.0.0.9', [])
  const served = ({ port, endpoints }: PortState) => port.protocol === 'TCP' && endpoints.length > 0
  fc.assert(
    fc.property(states, fc.boolean(), (ports, isSwitchedOff) => {
      const model = modelOf(ports)
      if (isSwitchedOff) model.apply([adding('ip', 'overlay_off', 'ip'), adding('ip6', 'overlay_off', 'ip6')])
      for (const state of [...ports.filter(served), gone]) {
        const repeated = packetTo(state, { repeats: 'untranslated', connectionMark: 0x8000 })
        const { verdict, destination, mark } = model.trace(repeated, envoyAlive)
        assert.deepEqual({ verdict, destination, mark }, { verdict: 'tproxy', destination: state.vip, mark: 0x8000 })
      }
    }),
  )
})

test('What a client repeats before an endpoint has answered goes there, also when its port has been promoted', () => {
  const repeats = { ip: '10.1.0.7', port: 8080 }
  const { verdict, destination, mark } = modelOf([http]).trace(packetTo(http, { repeats }), envoyAlive)
  assert.deepEqual({ verdict, destination, mark }, { verdict: 'forward', destination: repeats.ip, mark: 0 })
})

test('What a pod repeats that stays in the kernel layer by now is refused: it is not translated any more', () => {
  const model = modelOf([http])
  const repeated = packetTo(http, { repeats: 'untranslated', connectionMark: 0x8000 })
  model.apply([adding('ip', 'kernel-clients', repeated.source)])
  assert.equal(model.trace(repeated, envoyAlive).verdict, 'reset')
})

const eachListener = [
  [1666, modelOf([http])],
  [1667, modelOf([http], () => true)],
] as const

test('A process of the node is redirected to Envoy, and Envoy itself is not', () => {
  for (const [listener, model] of eachListener) {
    const { verdict, port } = model.trace(packetTo(http, { from: 'node' }), envoyAlive)
    assert.deepEqual({ verdict, port }, { verdict: 'redirect', port: listener })
    // It has endpoints to connect to; a VIP is none of its business.
    assert.equal(model.trace(packetTo(http, { from: 'node', mark: 0x1000 }), envoyAlive).verdict, 'reset')
  }
})

test('A pod on a bridge is redirected to Envoy, and takes the kernel layer while Envoy is dead', () => {
  for (const [listener, model] of eachListener) {
    const { verdict, port } = model.trace(packetTo(http, { isBridged: true }), envoyAlive)
    assert.deepEqual({ verdict, port }, { verdict: 'redirect', port: listener })
    assert.equal(model.trace(packetTo(http, { isBridged: true }), envoyDead).verdict, 'forward')
  }
})

test('While Envoy lacks the shared listener, what is to go there takes the kernel layer, and all else goes to Envoy', () => {
  const verdicts = eachListener.map(
    ([, model]) => model.trace(packetTo(http), { ...envoyAlive, listeners: [1666] }).verdict,
  )
  assert.deepEqual(verdicts, ['tproxy', 'forward'])
})

test('With the overlay switched off everything new takes the kernel layer', () => {
  const model = modelOf([http])
  model.apply([adding('ip', 'overlay_off', 'ip')])
  for (const from of ['pod', 'node'] as const) {
    const { verdict, destination } = model.trace(packetTo(http, { from }), envoyAlive)
    assert.deepEqual({ verdict, destination }, { verdict: 'forward', destination: '10.1.0.1' })
  }
})

test('A pod that is to stay in the kernel layer does, and others go to Envoy still', () => {
  const model = modelOf([http])
  model.apply([adding('ip', 'kernel-clients', '10.1.9.1')])
  const verdict = (source: string) => model.trace(packetTo(http, { source }), envoyAlive).verdict
  assert.deepEqual([verdict('10.1.9.1'), verdict('10.1.9.2')], ['forward', 'tproxy'])
})

test('The ports of Envoy refuse clients that were not redirected there, and a Service on one of them works', () => {
  for (const number of [1666, 1667]) {
    const port = { name: 'p', protocol: 'TCP' as const, port: number }
    const service = portState('a/b/p', '10.0.0.3', [`172.30.0.1:${number}`], { port })
    const model = modelOf([service])
    const direct = packetTo(service, { destination: '172.30.0.1' })
    assert.equal(model.trace(direct, envoyAlive).verdict, 'reset')
    assert.equal(model.trace(packetTo(service), envoyAlive).verdict, 'local')
  }
})

test('Marks of others are left alone', () => {
  const outcome = modelOf([http]).trace(packetTo(http, { mark: 0x4, connectionMark: 0x8 }), envoyAlive)
  assert.deepEqual([outcome.mark, outcome.connectionMark], [0x8004, 0x8008])
})

test('A connection of the node that is redirected to Envoy is refused where an unprivileged process has the port', () => {
  const packet = packetTo(http, { from: 'node' })
  for (const [impostor, model] of eachListener) {
    assert.equal(model.trace(packet, envoyAlive).verdict, 'redirect')
    assert.equal(model.trace(packet, { ...envoyDead, impostor }).verdict, 'reset')
  }
})
