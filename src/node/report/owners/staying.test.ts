import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Layer, PortState } from '../../../plan/ports/port.ts'
import { aPortState } from '../../../plan/testing.ts'
import type { Note } from '../../../services/note.ts'
import { StayingPorts } from './staying.ts'

const afterMs = 20
const barred: Layer = {
  wants: 'kernel',
  reason: 'endpoint 10.0.0.1:80: it is the address of a node',
  isForEndpoint: true,
}
const byWish: Layer = { wants: 'kernel', reason: 'setting overlay: false' }
const log = { debug() {}, info() {}, warn() {}, error() {} }

function staying() {
  const states = new Map<string, PortState>()
  const notes: Note[] = []
  const ports = new StayingPorts({ nodeName: 'node1', stateOf: id => states.get(id), log, afterMs })
  ports.tell(note => notes.push(note))
  const become = (id: string, layer: Layer) => {
    const [before, after] = [states.get(id), aPortState({ id, layer })]
    states.set(id, after)
    ports.changed({ id, before, after })
  }
  return { become, notes }
}

test('a port that an endpoint keeps from Envoy is reported on its Service, once, with the others that share the reason', async () => {
  const { become, notes } = staying()
  become('shop/web/http', barred)
  become('shop/web/http-admin', barred)
  await sleep(3 * afterMs)
  become('shop/web/http', barred)
  await sleep(3 * afterMs)
  assert.deepEqual(
    notes.map(({ object, reason, message, once }) => [object, reason, message, once]),
    [
      [
        'Service shop/web',
        'StaysInKernel',
        'Ports http, http-admin stay in the kernel layer: endpoint 10.0.0.1:80: it is the address of a node',
        'cluster',
      ],
    ],
  )
})

test('nothing is reported of what passes, of what its owner wants so, and of a port that was demoted', async () => {
  const { become, notes } = staying()
  const { layer: envoy } = aPortState()
  become('a/passes/http', barred)
  become('a/passes/http', envoy)
  become('a/wanted/http', byWish)
  become('a/down/http', envoy)
  become('a/down/http', barred)
  await sleep(3 * afterMs)
  assert.deepEqual(notes, [])
})

test('many Services at once are reported on the node', async () => {
  const { become, notes } = staying()
  for (let i = 0; i < 30; i++) become(`a/s${i}/http`, barred)
  await sleep(3 * afterMs)
  assert.deepEqual(
    notes.map(({ object }) => object),
    ['Node node1'],
  )
})
