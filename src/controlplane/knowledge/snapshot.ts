/**
 * The bytes of a snapshot: a line of JSON, then for each type the response by which an agent without anything would be
 * told all of it.
 */

import { createHash } from 'node:crypto'
import { factsFormat } from '../../facts/format.ts'
import { encodeComplete, encodeFacts } from '../../facts/response.ts'
import { readFacts, type Told } from '../../facts/told.ts'
import { everything, factTypes } from '../../facts/types.ts'
import { rawList, rawObject } from '../../text/raw.ts'
import type { FactStore } from './factstore.ts'

export interface Snapshot {
  /** When these were the facts of the cluster, in milliseconds since the epoch. */
  readonly seen: number
  readonly facts: readonly Told[]
}

export function encodeSnapshot(store: FactStore, seen: number): Buffer {
  const messages = factTypes.map(type => {
    const resources = [...store.all(type).values()].map(({ field }) => field)
    const complete = encodeComplete(everything, store.version(type))
    return encodeFacts({ type, nonce: '', resources: [...resources, complete], removed: [] })
  })
  const body = Buffer.concat(messages)
  const header = { format: factsFormat, seen, lengths: messages.map(({ length }) => length), sha256: digest(body) }
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), body])
}

/** @throws Error where it is not whole, or of another format */
export function decodeSnapshot(bytes: Buffer): Snapshot {
  const end = bytes.indexOf('\n')
  const { format, seen, lengths, sha256 } = rawObject(JSON.parse(bytes.toString('utf8', 0, Math.max(0, end))))
  if (format !== factsFormat) throw new Error(`it has format ${format}, and this version reads ${factsFormat}`)
  const body = bytes.subarray(end + 1)
  if (typeof seen !== 'number' || sha256 !== digest(body)) throw new Error('it is not whole')
  const facts: Told[] = []
  let at = 0
  for (const length of rawList(lengths)) {
    facts.push(readFacts(body.subarray(at, at + Number(length))))
    at += Number(length)
  }
  return { seen, facts }
}

function digest(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}
