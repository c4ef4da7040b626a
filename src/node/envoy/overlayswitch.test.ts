import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noteOf } from '../../services/note.ts'
import type { Problem } from '../../services/problem.ts'
import { OverlaySwitch } from './overlayswitch.ts'

test('an overlay that is off in any family is an Event on the Node, which ends when it is on in all', () => {
  const told: (readonly Problem[])[] = []
  const overlay = new OverlaySwitch({ nodeName: 'node1', onProblems: (_, problems) => told.push(problems) })
  for (const family of ['IPv4', 'IPv6'] as const) overlay.set(family, true)
  overlay.set('IPv4', false)
  assert.ok(overlay.isOff)
  overlay.set('IPv6', false)
  assert.ok(!overlay.isOff)
  assert.deepEqual(told.at(-1), [])
  const { object, type, reason, message } = noteOf(told[0]![0]!)
  assert.deepEqual([object, type, reason], ['Node node1', 'Warning', 'OverlayOff'])
  assert.match(message, /LP408 .*`lightpath overlay on`/)
})
