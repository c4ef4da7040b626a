/**
 * Writes the DeltaDiscoveryResponses of a control plane. A resource is encoded once, as the field that it is in every
 * response; a response is these fields one after another.
 */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { type FactType, typeUrlOf } from './types.ts'

// Field numbers of envoy/service/discovery/v3/discovery.proto and google/protobuf/any.proto.
const response = { resources: 2, typeUrl: 4, nonce: 5, removedResources: 6 } as const
const resource = { version: 1, resource: 2, name: 3 } as const
const any = { typeUrl: 1, value: 2 } as const

/** The field of one resource. */
export function encodeResource(type: FactType, name: string, version: string, message: Uint8Array): Uint8Array {
  const writer = new BinaryWriter()
  writer.tag(response.resources, WireType.LengthDelimited).fork()
  writer.tag(resource.version, WireType.LengthDelimited).string(version)
  writer.tag(resource.resource, WireType.LengthDelimited).fork()
  writer.tag(any.typeUrl, WireType.LengthDelimited).string(typeUrlOf(type))
  writer.tag(any.value, WireType.LengthDelimited).bytes(message)
  writer.join()
  writer.tag(resource.name, WireType.LengthDelimited).string(name)
  return writer.join().finish()
}

/** The field that says that a scope is complete: a resource with the scope's name and without content. */
export function encodeComplete(scope: string, version: string): Uint8Array {
  const writer = new BinaryWriter()
  writer.tag(response.resources, WireType.LengthDelimited).fork()
  writer.tag(resource.version, WireType.LengthDelimited).string(version)
  writer.tag(resource.name, WireType.LengthDelimited).string(scope)
  return writer.join().finish()
}

export interface FactsResponse {
  readonly type: FactType
  readonly nonce: string
  readonly resources: readonly Uint8Array[]
  readonly removed: readonly string[]
}

export function encodeFacts({ type, nonce, resources, removed }: FactsResponse): Buffer {
  const writer = new BinaryWriter()
  writer.tag(response.typeUrl, WireType.LengthDelimited).string(typeUrlOf(type))
  writer.tag(response.nonce, WireType.LengthDelimited).string(nonce)
  for (const name of removed) writer.tag(response.removedResources, WireType.LengthDelimited).string(name)
  return Buffer.concat([...resources, writer.finish()])
}
