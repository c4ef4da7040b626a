import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Instance } from '../../envoy/program/sockets.ts'
import { type Resource, typeUrls } from '../../envoy/resource.ts'
import type { ClientInfo } from '../../xds/session.ts'
import type { CanaryAnswer } from './canary.ts'
import { Envoys } from './envoys.ts'

const redirectListeners: Resource = {
  typeUrl: typeUrls.listener,
  name: 'redirect-IPv4',
  version: '1',
  requires: [],
  encode: () => new Uint8Array(),
}

function infoOf(id: number, instance: Instance): ClientInfo {
  const metadata = new Map([['lightpath.cloud/instance', String(instance)]])
  return { id, nodeId: 'node1', envoyVersion: '1.40.0', extensions: [], metadata }
}

/** Envoys whose answers the test sets; they have the shared listener as soon as it is published. */
function node({ handsOver = true } = {}) {
  const listening = new Set<number>()
  /** The Envoys that have everything else. */
  const knowing = new Set<number>()
  const canaries = new Map<number, (answer: CanaryAnswer) => void>()
  const envoys: Envoys = new Envoys(
    {
      boundListeners: [redirectListeners],
      clientAddress: { setting: 'forwarded-for', mode: 'forwarded-for', why: '' },
      watchCanary: (instance, onChange) => {
        canaries.set(instance, onChange)
        return { stop: () => {} }
      },
      handsOver: () => handsOver,
      xds: {
        acknowledgedVersion: (id, { name }) =>
          (name === redirectListeners.name ? listening : knowing).has(id) ? '1' : undefined,
        setActive: (id, active) => {
          if (active) listening.add(id)
          else listening.delete(id)
          envoys.sharedChanged()
        },
      },
      onProblems: () => {},
    },
    { changed: () => {}, admitting: () => 0 },
  )
  const answer = (instance: Instance, said: CanaryAnswer) => canaries.get(instance)!(said)
  /** Admissions wait for a timer of no time: one that begins later ends later. */
  const active = () => new Promise(resolve => setTimeout(resolve, 5))
  /** Connects an Envoy that has everything and answers. */
  const join = async (id: number, instance: Instance, said: CanaryAnswer = 'serving') => {
    envoys.connected(infoOf(id, instance))
    envoys.settled(id)
    answer(instance, said)
    await active()
  }
  return { envoys, listening, knowing, answer, join, active }
}

test('an Envoy takes connections once it has all the rest, and counts once it answers', async () => {
  const { envoys, listening, answer, active } = node()
  envoys.connected(infoOf(1, 1))
  answer(1, 'refused')
  await active()
  assert.deepEqual([listening.size, envoys.isUp, envoys.stateOf(1)], [0, false, 'coming'])
  envoys.settled(1)
  await active()
  assert.deepEqual([[...listening], envoys.isUp, envoys.stateOf(1)], [[1], false, 'silent'])
  answer(1, 'serving')
  assert.deepEqual([envoys.isUp, envoys.stateOf(1)], [true, 'serving'])
})

test('an Envoy that is to end keeps its connections until another serves in its place, and gets new ones meanwhile', async () => {
  const { envoys, listening, answer, join } = node()
  await join(1, 1)
  envoys.connected(infoOf(2, 2))
  answer(1, 'draining')
  assert.deepEqual([[...listening], envoys.isUp], [[1], true])
  await join(2, 2)
  assert.deepEqual([[...listening], envoys.isUp, envoys.stateOf(1)], [[2], true, 'ending'])
})

test('an Envoy that is to end keeps its connections while the other does not answer yet', async () => {
  const { listening, answer, join } = node()
  await join(1, 1)
  await join(2, 2, 'refused')
  answer(1, 'draining')
  assert.deepEqual([...listening], [1, 2])
  answer(2, 'serving')
  assert.deepEqual([...listening], [2])
})

test('an Envoy that is to end with none to follow gets no more new connections', async () => {
  const { envoys, listening, answer, join } = node()
  await join(1, 1)
  answer(1, 'draining')
  assert.deepEqual([[...listening], envoys.isUp], [[1], false])
})

test('without a handover the next Envoy takes connections when the one before has ended', async () => {
  const { envoys, listening, answer, join, active } = node({ handsOver: false })
  await join(1, 1)
  await join(2, 2)
  assert.deepEqual([...listening], [1])
  answer(1, 'draining')
  assert.deepEqual([[...listening], envoys.isUp], [[1], false])
  listening.delete(1)
  envoys.disconnected(1)
  answer(1, 'refused')
  await active()
  assert.deepEqual([[...listening], envoys.isUp], [[2], true])
})

test('when the stream of one of two Envoys ends, nothing changes if it is dead, and all stops if it may still listen', async () => {
  for (const [said, isUp] of [
    ['refused', true],
    ['missed', false],
    ['serving', false],
  ] as const) {
    const { envoys, listening, answer, join } = node()
    await join(1, 1)
    await join(2, 2)
    listening.delete(1)
    envoys.disconnected(1)
    assert.equal(envoys.isUp, true)
    answer(1, said)
    assert.equal(envoys.isUp, isUp, said)
    await join(3, 1)
    assert.deepEqual([envoys.isUp, envoys.all.length], [true, 2])
  }
})

test('what is redirected has to be acked by each Envoy that takes connections, and not by one that is coming', async () => {
  const { envoys, knowing, join } = node()
  const port = { typeUrl: typeUrls.listener, name: '10.0.0.1:80' }
  await join(1, 1)
  assert.equal(envoys.have(port), false)
  knowing.add(1)
  envoys.connected(infoOf(2, 2))
  assert.equal(envoys.have(port), true)
  await join(2, 2)
  assert.equal(envoys.have(port), false)
  knowing.add(2)
  assert.equal(envoys.have(port), true)
})

test('an Envoy that is short of memory gets no connections until it has room again, whichever other Envoy serves', async () => {
  const { envoys, answer, join } = node()
  await join(1, 1)
  await join(2, 2)
  assert.equal(envoys.isUp, true)
  answer(1, 'overloaded')
  assert.deepEqual([envoys.isUp, envoys.stateOf(1)], [false, 'overloaded'])
  answer(1, 'serving')
  assert.equal(envoys.isUp, true)
})
