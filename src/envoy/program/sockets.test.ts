import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { adminSocket, canarySocket, instanceIn, metadataOfInstance, socketPaths } from './sockets.ts'

test('an Envoy reports its instance by its bootstrap', () => {
  for (const instance of [1, 2] as const) {
    assert.equal(instanceIn(new Map(Object.entries(metadataOfInstance(instance)))), instance)
  }
})

test('whatever a client claims to be, it leads to no socket beyond those of the directory', () => {
  const key = Object.keys(metadataOfInstance(1))[0]!
  const claim = fc.oneof(fc.string(), fc.constantFrom('3', '../../etc', '-1', '2/../../x', '2\u0000', '0x2', ' 2'))
  const known = socketPaths('/run/lightpath/envoy')
  fc.assert(
    fc.property(claim, fc.dictionary(fc.string(), fc.string()), (said, more) => {
      const instance = instanceIn(new Map([...Object.entries(more), [key, said]]))
      for (const socketOf of [adminSocket, canarySocket]) {
        assert.ok(known.includes(socketOf({ directory: '/run/lightpath/envoy' }, instance).path))
      }
    }),
  )
})
