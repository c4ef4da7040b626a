import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { hostPort } from '../../../net/address.ts'
import { aPortState } from '../../../plan/testing.ts'
import { socketAddress } from '../../address.ts'
import { HealthStatus } from '../../api/envoy/config/core/v3/health_check_pb.js'
import { ClusterLoadAssignmentSchema } from '../../api/envoy/config/endpoint/v3/endpoint_pb.js'
import { encode } from '../../encoding.ts'
import { endpointsResource } from './endpoints.ts'

test('Endpoints are written as protobuf writes them', () => {
  const anyEndpoint = fc.record({
    ip: fc.oneof(fc.ipV4(), fc.ipV6()),
    port: fc.integer({ min: 1, max: 65_535 }),
    isEjected: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.uniqueArray(anyEndpoint, { maxLength: 20, selector: ({ ip }) => ip }), endpoints => {
      const lbEndpoints = endpoints.map(({ ip, port, isEjected }) => ({
        hostIdentifier: { case: 'endpoint' as const, value: { address: socketAddress(ip, port) } },
        healthStatus: isEjected ? HealthStatus.UNHEALTHY : HealthStatus.UNKNOWN,
      }))
      const expected = encode(ClusterLoadAssignmentSchema, {
        clusterName: '10.96.0.10:80',
        endpoints: endpoints.length === 0 ? [] : [{ lbEndpoints }],
      })
      const ejected = new Set(endpoints.filter(one => one.isEjected).map(({ ip, port }) => hostPort(ip, port)))
      const frontend = { ...aPortState({ endpoints }), observed: { ejected } }
      assert.deepEqual(Buffer.from(endpointsResource(frontend).encode()), Buffer.from(expected))
    }),
  )
})

test('endpoints for spill-over have the next priority', () => {
  const frontend = { ...aPortState(), spillOver: [{ ip: '10.244.9.1', port: 8080 }] }
  const { endpoints } = fromBinary(ClusterLoadAssignmentSchema, endpointsResource(frontend).encode())
  assert.deepEqual(
    endpoints.map(({ priority, lbEndpoints }) => [priority, lbEndpoints.length]),
    [
      [0, frontend.endpoints.length],
      [1, 1],
    ],
  )
})
