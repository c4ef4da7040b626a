import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { aPortState } from '../services/testing.ts'
import { socketAddress } from './address.ts'
import { ClusterLoadAssignmentSchema } from './api/envoy/config/endpoint/v3/endpoint_pb.js'
import { encode } from './encoding.ts'
import { endpointsResource } from './endpoints.ts'

test('Endpoints are written as protobuf writes them', () => {
  const anyEndpoint = fc.record({ ip: fc.oneof(fc.ipV4(), fc.ipV6()), port: fc.integer({ min: 1, max: 65_535 }) })
  fc.assert(
    fc.property(fc.array(anyEndpoint, { maxLength: 20 }), endpoints => {
      const lbEndpoints = endpoints.map(({ ip, port }) => ({
        hostIdentifier: { case: 'endpoint' as const, value: { address: socketAddress(ip, port) } },
      }))
      const expected = encode(ClusterLoadAssignmentSchema, {
        clusterName: '10.96.0.10:80',
        endpoints: endpoints.length === 0 ? [] : [{ lbEndpoints }],
      })
      assert.deepEqual(Buffer.from(endpointsResource(aPortState({ endpoints })).encode()), Buffer.from(expected))
    }),
  )
})
