/** How old the facts of a control plane are, as it tells agents. */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { DeltaDiscoveryResponseSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import { FreshnessSchema } from './api/lightpath/facts/v1/facts_pb.js'

export interface FactsFreshness {
  /** When the API server said last that these are its facts, in milliseconds since the epoch. */
  readonly seen: number
  /** The control plane cannot read the API server. */
  readonly isCutOff: boolean
}

const typeUrl = 'type.googleapis.com/lightpath.facts.v1.Freshness'
/** Longer ones are responses with facts, which are not decoded twice. */
const longest = 256

export function encodeFreshness({ seen, isCutOff }: FactsFreshness): Buffer {
  const value = toBinary(FreshnessSchema, create(FreshnessSchema, { seenMs: BigInt(seen), cutOff: isCutOff }))
  const message = create(DeltaDiscoveryResponseSchema, { typeUrl, resources: [{ resource: { typeUrl, value } }] })
  return Buffer.from(toBinary(DeltaDiscoveryResponseSchema, message))
}

/** Undefined for a response of another type. @throws Error where the bytes are no response */
export function readFreshness(bytes: Uint8Array): FactsFreshness | undefined {
  if (bytes.length > longest) return undefined
  const response = fromBinary(DeltaDiscoveryResponseSchema, bytes)
  const value = response.resources[0]?.resource?.value
  if (response.typeUrl !== typeUrl || !value) return undefined
  const { seenMs, cutOff } = fromBinary(FreshnessSchema, value)
  return { seen: Number(seenMs), isCutOff: cutOff }
}
