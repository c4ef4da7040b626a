import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Layer, PortState } from '../../../plan/ports/port.ts'
import { aPortState } from '../../../plan/testing.ts'
import type { Note } from '../../../services/note.ts'
import { silentLog } from '../../../sources/testing.ts'
import { LayerMoves } from './moves.ts'

const envoy: Layer = { wants: 'envoy', protocol: 'http', reason: 'port name http' }
const kernel: Layer = { wants: 'kernel', reason: 'sessionAffinity is ClientIP' }

function aPort(service: string, port = 'http', layer = envoy): PortState {
  return aPortState({ id: `shop/${service}/${port}`, namespace: 'shop', name: service, layer })
}

function setUp(...known: readonly PortState[]) {
  const states = new Map<string, PortState>()
  const told: string[] = []
  const reachable = new Set(['IPv4', 'IPv6'])
  const moves = new LayerMoves({
    nodeName: 'node1',
    frontendOf: id => states.get(id),
    isReachable: family => reachable.has(family),
    log: silentLog,
    gatherMs: 0,
  })
  moves.tell(({ object, type, reason, message }: Note) => void told.push(`${object} ${type} ${reason}: ${message}`))
  const set = (...ports: readonly PortState[]) => {
    for (const port of ports) states.set(port.id, port)
    return ports.map(({ id }) => id)
  }
  set(...known)
  moves.begin(known)
  return {
    moves,
    set,
    reachable,
    told: () => new Promise<string[]>(resolve => setTimeout(() => resolve(told.splice(0)), 5)),
  }
}

describe('moves between the layers', () => {
  test('are reported on the Service, with ports, node and reason', async () => {
    const { moves, set, told } = setUp()
    moves.moved(set(aPort('cart'), aPort('cart', 'http/IPv6')), 'promoted')
    assert.deepEqual(await told(), [
      'Service shop/cart Normal EnvoyEnabled: Ports http, http/IPv6 promoted to Envoy on node node1: port name http, and Envoy has acknowledged it',
    ])
    moves.moved(set(aPort('cart', 'http', kernel)), 'lost')
    assert.deepEqual(await told(), [
      'Service shop/cart Normal EnvoyDisabled: Port http demoted to the kernel layer on node node1: sessionAffinity is ClientIP',
    ])
    moves.moved(['shop/cart/http/IPv6'], 'lost')
    assert.match((await told())[0]!, /Port http\/IPv6 .*: Envoy lacks a part of its configuration$/)
    moves.moved(set(aPort('morph')), 'promoted')
    await told()
    moves.moved(['shop/morph/http'], 'withdrawn')
    assert.match((await told())[0]!, /: it was changed, and gets another listener in Envoy; it is promoted again/)
  })

  test('are not reported for Services that are promoted as before, after a start of the agent or of Envoy', async () => {
    const { moves, set, told } = setUp(aPort('old'))
    moves.envoy(false)
    moves.envoy(true)
    moves.moved(['shop/old/http'], 'promoted')
    moves.moved(set(aPort('new')), 'promoted')
    const [note, ...more] = await told()
    assert.match(note!, /^Service shop\/new /)
    assert.deepEqual(more, [])
    moves.envoy(false)
    moves.envoy(true)
    moves.moved(['shop/old/http', 'shop/new/http'], 'promoted')
    assert.deepEqual(await told(), [
      'Node node1 Warning EnvoyDown: Envoy is down or not connected: the kernel layer serves all Services',
      'Node node1 Normal EnvoyUp: Envoy is up again: what it has acknowledged goes through it',
    ])
  })

  test('are not reported at all for 10,000 Services that a start of the agent finds and promotes again', async () => {
    const many = Array.from({ length: 10_000 }, (_, index) => aPort(`s${index}`))
    const { moves, told } = setUp(...many)
    moves.moved(
      many.map(({ id }) => id),
      'promoted',
    )
    assert.deepEqual(await told(), [])
  })

  test('are reported for a Service that was not meant for Envoy meanwhile', async () => {
    const { moves, told } = setUp(aPort('cart'))
    moves.wanted('shop/cart/http', undefined)
    moves.moved(['shop/cart/http'], 'promoted')
    assert.equal((await told()).length, 1)
  })

  test('are not reported for a Service that is gone', async () => {
    const { moves, told } = setUp()
    moves.moved(['shop/gone/http'], 'lost')
    assert.deepEqual(await told(), [])
  })

  test('because pods do not reach Envoy any more are reported on the node by others, and not when they do again', async () => {
    const { moves, set, reachable, told } = setUp()
    const ids = set(aPort('cart'))
    moves.moved(ids, 'promoted')
    await told()
    reachable.delete('IPv4')
    moves.moved(ids, 'lost')
    moves.moved(ids, 'promoted')
    assert.deepEqual(await told(), [])
  })

  test('of many Services at once are reported on the node, once', async () => {
    const { moves, set, told } = setUp()
    const many = Array.from({ length: 21 }, (_, index) => aPort(`s${index}`))
    moves.moved(set(...many), 'promoted')
    const [note, ...more] = await told()
    assert.match(
      note!,
      /^Node node1 Normal EnvoyEnabled: 21 Services promoted to Envoy at the same time: Service shop\/s0, /,
    )
    assert.deepEqual(more, [])
    moves.moved(
      many.slice(1).map(({ id }) => id),
      'lost',
    )
    assert.equal((await told()).length, 20)
  })
})
