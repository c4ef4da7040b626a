import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Frontend } from '../../../envoy/resources/frontend.ts'
import { aPortState } from '../../../plan/testing.ts'
import { defaultSettings } from '../../../services/settings/definitions.ts'
import type { Settings } from '../../../services/settings/settings.ts'
import { aPort } from '../../../services/testing.ts'
import { ChangePace } from './changepace.ts'

const never = { burst: 2, refillMs: 1e9 }
const soon = { burst: 2, refillMs: 500 }
const endless = { burst: 1e6, refillMs: 1 }

const withIdle = (idleTimeout: number | undefined, requestTimeout = 0): Frontend =>
  aPortState({ settings: { ...defaultSettings, idleTimeout, requestTimeout } })

describe('the pace of changes', () => {
  test('lets a port change its listener a few times, then keeps it as Envoy has it, with all else as its owner wants it', () => {
    const pace = new ChangePace({ port: never })
    let told = withIdle(1000)
    for (const ms of [2000, 3000]) told = pace.pace(withIdle(ms), told).frontend!
    assert.equal(told.settings.idleTimeout, 3000)
    const { frontend, isLater } = pace.pace(withIdle(4000, 500), told)
    assert.deepEqual([frontend?.settings.idleTimeout, frontend?.settings.requestTimeout, isLater], [3000, 500, true])
    assert.equal(pace.pace(withIdle(undefined), told).frontend?.settings.idleTimeout, 3000)
  })

  test('lets the owner’s last wish through once there is room', async () => {
    const pace = new ChangePace({ port: soon })
    let told = withIdle(1000)
    for (const ms of [2000, 3000, 4000]) told = pace.pace(withIdle(ms), told).frontend!
    assert.equal(told.settings.idleTimeout, 3000)
    await new Promise(resolve => setTimeout(resolve, soon.refillMs * 1.2))
    assert.deepEqual(pace.pace(withIdle(4000), told), { frontend: withIdle(4000), isLater: false })
  })

  test('does not limit what changes no listener, however often', () => {
    const pace = new ChangePace({ port: never, listeners: never, addresses: never, changes: endless })
    const told = withIdle(1000)
    for (let ms = 1; ms < 100; ms++) assert.equal(pace.pace(withIdle(1000, ms), told).isLater, false)
    const shared = aPortState()
    const policy = aPortState({ settings: { ...defaultSettings, lbPolicy: 'RANDOM' } })
    for (let i = 0; i < 100; i++) assert.equal(pace.pace(policy, shared).isLater, false)
    const tcp = (frontend: Frontend): Frontend => ({
      ...frontend,
      layer: { wants: 'envoy', protocol: 'tcp', reason: 'setting overlay: true' },
    })
    for (let i = 0; i < 100; i++) assert.equal(pace.pace(tcp(policy), tcp(shared)).isLater, false)
  })

  test('publishes so many changes of the small ports of a namespace, each last one in the end, and all of another', async () => {
    const paceOf = () => new ChangePace({ changes: { burst: 40, refillMs: 100 } })
    const [pace, other, third] = [paceOf(), paceOf(), paceOf()]
    const maglev = { ...defaultSettings, lbPolicy: 'MAGLEV' } as const
    const portOf = (namespace: string, ip: string, settings: Settings = defaultSettings) =>
      aPortState({
        id: `${namespace}/a/http`,
        namespace,
        endpoints: [{ ip, port: 80 }],
        settings,
      })
    const told = portOf('greedy', '10.1.0.1')
    for (let i = 0; i < 40; i++) assert.equal(pace.pace(portOf('greedy', '10.1.0.2'), told).isLater, false)
    const { frontend, isLater } = pace.pace(portOf('greedy', '10.1.0.3'), told)
    assert.deepEqual([frontend?.endpoints, isLater], [told.endpoints, true])
    assert.equal(pace.pace(portOf('modest', '10.1.0.3'), portOf('modest', '10.1.0.4')).isLater, false)
    const hashed = portOf('hashed', '10.1.0.1', maglev)
    const later = [2, 3, 4].map(i => other.pace(portOf('hashed', `10.1.0.${i}`, maglev), hashed).isLater)
    assert.deepEqual(later, [false, false, true])
    const set = (numRetries: number) =>
      aPortState({ id: 'set/a/http', namespace: 'set', settings: { ...defaultSettings, numRetries } })
    const settings = Array.from({ length: 9 }, (_, i) => third.pace(set(i + 2), set(1)).isLater)
    assert.deepEqual(settings, [...Array(8).fill(false), true])
    await new Promise(resolve => setTimeout(resolve, 150))
    assert.equal(pace.pace(portOf('greedy', '10.1.0.3'), told).isLater, false)
  })

  test('has a bound for all namespaces together, and in it a share for each', () => {
    const pace = new ChangePace({ changes: { burst: 40, refillMs: 1e9 }, listeners: { burst: 40, refillMs: 1e9 } })
    const published = (of: string, n = 0) =>
      aPortState({ id: `${of}/port-${n}/http`, namespace: of, endpoints: [{ ip: '10.1.0.1', port: 80 }] })
    const changed = (of: string, n?: number) => ({ ...published(of, n), endpoints: [{ ip: '10.1.0.2', port: 80 }] })
    const moved = (of: string, n?: number) => ({
      ...published(of, n),
      settings: { ...defaultSettings, overlay: 'true' as const, idleTimeout: 1000 },
    })
    for (const wanted of [changed, moved]) {
      const isNow = (of: string, n?: number) => !pace.pace(wanted(of, n), published(of, n)).isLater
      const greedy = Array.from({ length: 4000 }, (_, n) => isNow(`greedy-${n % 100}`, n)).filter(Boolean).length
      assert.ok(greedy <= 160, `${greedy} changes`)
      assert.ok(isNow('modest'))
    }
  })

  test('takes nothing from a port for a change that its namespace may not make yet', async () => {
    const pace = new ChangePace({ port: never, addresses: { burst: 1, refillMs: 100 } })
    const at = (port: number, id = 'shop/web/http') => aPortState({ id, port: aPort({ port }) })
    pace.pace(at(80, 'shop/other/http'), undefined)
    for (let i = 0; i < 20; i++) assert.equal(pace.pace(at(81), at(80)).isLater, true)
    await new Promise(resolve => setTimeout(resolve, 150))
    assert.equal(pace.pace(at(81), at(80)).isLater, false)
  })

  test('keeps no endpoint in Envoy to which that may not connect any more', () => {
    const pace = new ChangePace({ changes: never })
    const [a, b, c] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'].map(ip => ({ ip, port: 80 }))
    const told = aPortState({ endpoints: [a!, b!] })
    const wanted: Frontend = { ...aPortState({ endpoints: [b!, c!] }), isCut: true }
    const paced = Array.from({ length: 3 }, () => pace.pace(wanted, told))
    assert.deepEqual(
      paced.map(({ isLater }) => isLater),
      [false, false, true],
    )
    assert.deepEqual(paced[2]!.frontend?.endpoints, [b])
  })

  test('has a port that moves again and again wait in the kernel layer', () => {
    const pace = new ChangePace({ port: never })
    const at = (port: number) => aPortState({ port: aPort({ port }) })
    assert.deepEqual(
      [81, 82, 83].map(port => pace.pace(at(port), at(port - 1)).frontend?.port.port),
      [81, 82, undefined],
    )
  })

  test('is that of a namespace, too: new ports of one wait, and those of another do not', () => {
    const pace = new ChangePace({ addresses: never, port: endless })
    const frontends = ['a', 'b', 'c'].map(name => aPortState({ id: `greedy/${name}/http`, namespace: 'greedy', name }))
    assert.deepEqual(
      frontends.map(frontend => pace.pace(frontend, undefined).frontend !== undefined),
      [true, true, false],
    )
    assert.deepEqual(pace.pace(aPortState(), undefined), { frontend: aPortState(), isLater: false })
  })

  test('publishes changes of a small port’s endpoints, and a few of a large port’s, of which the last comes through', async () => {
    const crowd = (count: number) => Array.from({ length: count }, (_, i) => ({ ip: `10.1.0.${i}`, port: 80 }))
    const [small, large] = [crowd(50), crowd(200)]
    const pace = new ChangePace({ endpoints: soon })
    const tell = (endpoints: Frontend['endpoints'], told: Frontend['endpoints']) =>
      pace.pace(aPortState({ endpoints }), aPortState({ endpoints: told }))
    for (let i = 0; i < 50; i++) assert.equal(tell(crowd(50), small).isLater, false)
    for (let i = 0; i < 2; i++) assert.equal(tell(crowd(200), large).isLater, false)
    const { frontend, isLater } = tell(crowd(201), large)
    assert.deepEqual([frontend?.endpoints, isLater], [large, true])
    await new Promise(resolve => setTimeout(resolve, soon.refillMs * 1.2))
    assert.equal(tell(crowd(201), large).frontend?.endpoints.length, 201)
    const frontends = [1, 2, 3].map(i => aPortState({ id: `new/${i}/http`, namespace: 'new', endpoints: large }))
    assert.deepEqual(
      frontends.map(frontend => pace.pace(frontend, undefined).frontend !== undefined),
      [true, true, false],
    )
  })
})
