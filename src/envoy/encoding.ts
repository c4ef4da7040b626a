/** Encodes Envoy's messages as resources: what every resource shares of the encoding. */

import { hash } from 'node:crypto'
import { create, type DescField, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { WireType } from '@bufbuild/protobuf/wire'
import { type Any, AnySchema, type Duration, durationFromMs } from '@bufbuild/protobuf/wkt'
import type { Resource, ResourceRef, TypeUrl } from './resource.ts'
import { varintLength, writeVarint } from './varint.ts'

export function encode<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): Uint8Array {
  return toBinary(schema, create(schema, init))
}

/**
 * Joins parts of one message that were encoded apart. Protobuf defines the concatenation of encodings as the merge of
 * their messages: scalars of later parts win, lists are appended, submessages are merged
 * (https://protobuf.dev/programming-guides/encoding/#last-one-wins). So what many resources have in common is encoded
 * once.
 */
export function merge(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}

/**
 * Makes an encoded message, or a text, a field of another message, to be merged with the other's parts. Every route is
 * made of some ten of these: a BinaryWriter, which begins with a buffer of its own, takes several times as long.
 */
export function asField({ number }: DescField, content: Uint8Array | string): Uint8Array {
  const tag = (number << 3) | WireType.LengthDelimited
  const length = Buffer.byteLength(content)
  const bytes = Buffer.allocUnsafe(varintLength(tag) + varintLength(length) + length)
  const start = writeVarint(bytes, writeVarint(bytes, 0, tag), length)
  if (typeof content === 'string') bytes.write(content, start)
  else bytes.set(content, start)
  return bytes
}

export function any<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): Any {
  return encodedAny(schema, encode(schema, init))
}

export function encodedAny(schema: DescMessage, bytes: Uint8Array): Any {
  return create(AnySchema, { typeUrl: `type.googleapis.com/${schema.typeName}`, value: bytes })
}

export function duration(ms: number): Duration {
  return durationFromMs(ms)
}

const versionBytes = 12
/** The size of some 250 endpoints. */
const largeBytes = 8192
const nothing: readonly ResourceRef[] = []

/** @param encode lives as long as the resource: it should refer to what it needs, and not to a whole Service port */
export function resource(
  typeUrl: TypeUrl,
  name: string,
  encode: () => Uint8Array,
  requires: readonly ResourceRef[] = nothing,
): Resource {
  const bytes = encode()
  const version = hash('sha1', bytes, 'buffer').toString('base64url', 0, versionBytes)
  const made = { typeUrl, name, version, encode, requires }
  return bytes.length < largeBytes ? made : { ...made, isLarge: true }
}

/** Memoizes a function of objects for as long as the objects live. */
export function memoize<In extends object, Out>(compute: (input: In) => Out): (input: In) => Out {
  const results = new WeakMap<In, Out>()
  return input => {
    let result = results.get(input)
    if (result === undefined) {
      result = compute(input)
      results.set(input, result)
    }
    return result
  }
}
