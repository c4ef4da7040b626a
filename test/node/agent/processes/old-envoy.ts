/** An xDS client of the socket that it is given, that says that it is Envoy 1.20.0, and acknowledges whatever it is told; until it is ended. */

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, credentials } from '@grpc/grpc-js'
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../../../src/envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { typeUrls } from '../../../../src/envoy/resource.ts'

const method = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
const client = new Client(`unix:${process.argv[2]}`, credentials.createInsecure())
const stream = client.makeBidiStreamRequest(
  method,
  (bytes: Uint8Array) => Buffer.from(bytes),
  (bytes: Buffer) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
)
const send = (request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) =>
  stream.write(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request)))

stream.on('data', ({ typeUrl, nonce }) => send({ typeUrl, responseNonce: nonce }))
stream.on('error', error => {
  throw error
})
const version = { version: { majorNumber: 1, minorNumber: 20, patch: 0 } }
const node = {
  id: 'old',
  userAgentName: 'envoy',
  userAgentVersionType: { case: 'userAgentBuildVersion' as const, value: version },
}
for (const typeUrl of [typeUrls.cluster, typeUrls.listener]) send({ node, typeUrl, resourceNamesSubscribe: ['*'] })
