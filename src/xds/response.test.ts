import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, equals, fromBinary } from '@bufbuild/protobuf'
import { DeltaDiscoveryResponseSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { typeUrls } from '../envoy/resource.ts'
import { modelResource } from './client/testing/resource.ts'
import { encodeResponse } from './response.ts'

test('a response is the message that the Envoy API describes', () => {
  const typeUrl = typeUrls.cluster
  const put = [1, 300, 70_000].map(size => ({
    resource: modelResource(typeUrl, `ns/größe-${size}`, `v${size}`, { quality: 'good' }),
    bytes: new Uint8Array(size).fill(9),
  }))
  const encoded = encodeResponse({ typeUrl, nonce: '7', put, remove: ['x', 'y'] })
  const expected = create(DeltaDiscoveryResponseSchema, {
    typeUrl,
    nonce: '7',
    removedResources: ['x', 'y'],
    resources: put.map(({ resource: { name, version }, bytes }) => ({
      name,
      version,
      resource: { typeUrl, value: bytes },
    })),
  })
  assert(equals(DeltaDiscoveryResponseSchema, fromBinary(DeltaDiscoveryResponseSchema, encoded), expected))
})
