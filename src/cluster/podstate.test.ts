import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stateOf } from './podstate.ts'

const pod = (state: object, phase = 'Pending') => ({ status: { phase, containerStatuses: [{ state }] } })

test('a pod that looks at a node has ended, whatever its checks said, or says why it never will', () => {
  assert.deepEqual(stateOf({ status: { phase: 'Pending' } }), { is: 'waits', why: 'its pod is Pending' })
  assert.deepEqual(stateOf(pod({ waiting: { reason: 'ContainerCreating' } })), {
    is: 'waits',
    why: 'ContainerCreating',
  })
  assert.equal(stateOf(pod({ running: {} }, 'Running')).is, 'waits')
  assert.deepEqual(stateOf(pod({ waiting: { reason: 'ImagePullBackOff', message: 'no such host' } })), {
    is: 'failed',
    why: 'ImagePullBackOff: no such host',
  })
  for (const exitCode of [0, 1]) {
    const terminated = { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error' }
    assert.deepEqual(stateOf(pod({ terminated }, exitCode === 0 ? 'Succeeded' : 'Failed')), { is: 'ended' })
  }
  const noProgram = { exitCode: 128, reason: 'StartError', message: 'exec: "lightpath": not found' }
  assert.deepEqual(stateOf(pod({ terminated: noProgram }, 'Failed')), {
    is: 'failed',
    why: 'StartError: exec: "lightpath": not found',
  })
  const evicted = { status: { phase: 'Failed', message: 'The node was low on resource' } }
  assert.deepEqual(stateOf(evicted), { is: 'failed', why: 'The node was low on resource' })
})
