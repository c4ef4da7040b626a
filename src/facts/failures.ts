/** Encodes and decodes what nodes and a control plane tell each other of endpoints that fail (failures.proto). */

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { Exclusion } from '../exclusions/exclusion.ts'
import type { Observation } from '../exclusions/observation.ts'
import { bytesMethod } from '../xds/grpc.ts'
import { EndpointFailures, NodeReportSchema, VerdictSchema } from './api/lightpath/facts/v1/failures_pb.js'

/** What an agent says of an endpoint: an observation, or that it has none. */
export interface Sight extends Pick<Observation, 'endpoint' | 'since'> {
  readonly seen: Observation['seen'] | 'suspected' | 'not used'
}

export interface NodeReport {
  readonly node: string
  readonly sights: readonly Sight[]
}

export interface Verdict {
  /** Undefined where it is undecided: what was said before holds as long as it did. */
  readonly exclusions: readonly Exclusion[] | undefined
  readonly validMs: number
  /** Endpoints that the node is asked about. */
  readonly asked: readonly string[]
}

const sights = ['timed out', 'refused', 'reset', 'gateway error', 'slow', 'answers', 'suspected', 'not used'] as const
const failures = ['timed out', 'refused'] as const
const subjects = ['endpoint', 'node'] as const

const { typeName, method } = EndpointFailures
/** The service as grpc-js has it: bytes in, bytes out. */
export const failuresService = { exchange: bytesMethod(`/${typeName}/${method.exchange.name}`, true) } as const

export function encodeReport({ node, sights }: NodeReport): Uint8Array {
  const observations = sights.map(({ endpoint, seen, since }) => ({ endpoint, seen, sinceMs: BigInt(since) }))
  return toBinary(NodeReportSchema, create(NodeReportSchema, { node, observations }))
}

/** @throws Error where the bytes are no report */
export function readReport(bytes: Uint8Array): NodeReport {
  const { node, observations } = fromBinary(NodeReportSchema, bytes)
  return {
    node,
    sights: observations.flatMap(({ endpoint, seen, sinceMs }) => {
      const known = sights.find(one => one === seen)
      return known ? { endpoint, seen: known, since: Number(sinceMs) } : []
    }),
  }
}

/** Exclusions are the same for all nodes, so they are encoded once. Fields of a message may follow each other in any order. */
export function encodeVerdict({ exclusions, validMs, asked }: Verdict): Uint8Array {
  const own: MessageInitShape<typeof VerdictSchema> = {
    undecided: exclusions === undefined,
    validMs,
    asked: [...asked],
  }
  const ofNode = toBinary(VerdictSchema, create(VerdictSchema, own))
  return exclusions === undefined || exclusions.length === 0 ? ofNode : Buffer.concat([encodedOnce(exclusions), ofNode])
}

const encoded = new WeakMap<readonly Exclusion[], Uint8Array>()

function encodedOnce(all: readonly Exclusion[]): Uint8Array {
  const known = encoded.get(all)
  if (known) return known
  const exclusions = all.map(({ since, isSilent, by, ...one }) => ({
    ...one,
    sinceMs: BigInt(since),
    silent: isSilent,
    by: [...by],
  }))
  const bytes = toBinary(VerdictSchema, create(VerdictSchema, { exclusions }))
  encoded.set(all, bytes)
  return bytes
}

/** @throws Error where the bytes are no verdict */
export function readVerdict(bytes: Uint8Array): Verdict {
  const { exclusions, validMs, asked, undecided } = fromBinary(VerdictSchema, bytes)
  if (undecided) return { exclusions: undefined, validMs, asked }
  const known = exclusions.flatMap(({ of, name, failure, sinceMs, by, silent }) => {
    const [subject, how] = [subjects.find(one => one === of), failures.find(one => one === failure)]
    return subject && how ? { of: subject, name, failure: how, since: Number(sinceMs), by, isSilent: silent } : []
  })
  return { exclusions: known, validMs, asked }
}
