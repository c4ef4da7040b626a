import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointSlice } from './objects/endpointslice.ts'
import { ServiceIndex } from './serviceindex.ts'
import { anEndpoint, aSlice, put, remove } from './testing.ts'

const ips = ['10.244.0.1', '10.244.0.2', '10.244.0.3']
const names = ['a', 'b', 'c']
/** Two of the slices are of one Service, until they change hands. */
const anySlice = fc
  .record({ name: fc.constantFrom(...names), service: fc.constantFrom('one', 'two'), at: fc.subarray(ips) })
  .map(({ name, service, at }) =>
    aSlice(
      at.map(ip => anEndpoint(ip)),
      { name, service },
    ),
  )
const anyChanges = fc.array(fc.record({ slice: anySlice, isGone: fc.boolean() }))

test('Services are found by address as they are when one looks through all', () => {
  fc.assert(
    fc.property(anyChanges, fc.nat(9), (changes, firstAsked) => {
      const index = new ServiceIndex()
      const slices = new Map<string, EndpointSlice>()
      for (const [i, { slice, isGone }] of changes.entries()) {
        index.apply(isGone ? remove(slice) : put(slice), new Set())
        if (isGone) slices.delete(slice.name)
        else slices.set(slice.name, slice)
        if (i < firstAsked) continue
        for (const ip of ips) {
          const there = [...slices.values()].filter(({ endpoints }) => endpoints.some(one => one.ip === ip))
          const found = [...index.withAddress(ip)].map(({ key }) => key).sort()
          assert.deepEqual(found, [...new Set(there.map(({ service }) => `whoami/${service}`))].sort())
        }
      }
    }),
  )
})
