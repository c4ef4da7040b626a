/** Writes a DeltaDiscoveryResponse as bytes: the encoded resources are copied into it as they are. */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Resource, TypeUrl } from '../envoy/resource.ts'

export interface EncodedResource {
  readonly resource: Resource
  readonly bytes: Uint8Array
}

export interface Response {
  readonly typeUrl: TypeUrl
  readonly nonce: string
  readonly put: readonly EncodedResource[]
  readonly remove: readonly string[]
}

// Field numbers of envoy/service/discovery/v3/discovery.proto and google/protobuf/any.proto.
const response = { resources: 2, typeUrl: 4, nonce: 5, removedResources: 6 } as const
const wrapper = { version: 1, resource: 2, name: 3 } as const
const any = { typeUrl: 1, value: 2 } as const

export function encodeResponse({ typeUrl, nonce, put, remove }: Response): Uint8Array {
  const writer = new BinaryWriter()
  const field = (number: number) => writer.tag(number, WireType.LengthDelimited)
  for (const { resource, bytes } of put) {
    field(response.resources).fork()
    field(wrapper.version).string(resource.version)
    field(wrapper.resource).fork()
    field(any.typeUrl).string(typeUrl)
    field(any.value).bytes(bytes)
    writer.join()
    field(wrapper.name).string(resource.name)
    writer.join()
  }
  field(response.typeUrl).string(typeUrl)
  field(response.nonce).string(nonce)
  for (const name of remove) field(response.removedResources).string(name)
  return writer.finish()
}
