import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { notesOf } from './notes.ts'

const excluded = (of: Exclusion['of'], name: string): Exclusion => ({
  ...{ of, name, failure: 'timed out', since: 0 },
  ...{ by: ['node1', 'node2'], isSilent: of === 'node' },
})

test('what is excluded is told on its Node, or on the Pod of an endpoint where that is known', () => {
  const podOf = (endpoint: string) => (endpoint.startsWith('10.244.9.1:') ? 'shop/cart-1' : undefined)
  const begun = [
    excluded('endpoint', '10.244.9.1:8080'),
    excluded('endpoint', '10.244.9.2:8080'),
    excluded('node', 'node9'),
  ]
  assert.deepEqual(notesOf(begun, [begun[0]!], podOf), [
    {
      object: 'Pod shop/cart-1',
      type: 'Warning',
      reason: 'Excluded',
      message:
        '10.244.9.1:8080 gets no new connections where there are others: connections time out to it, say node1, node2',
    },
    {
      object: 'Node node9',
      type: 'Warning',
      reason: 'Excluded',
      message:
        'endpoints on it get no new connections where there are others: connections time out there, say node1, node2; it is silent',
    },
    {
      object: 'Pod shop/cart-1',
      type: 'Normal',
      reason: 'ExclusionEnded',
      message: '10.244.9.1:8080 gets new connections again',
    },
  ])
})
