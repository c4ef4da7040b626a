/** Decides in which order changed Service ports are written: a Service with much to write holds up no other. */

import { externalDestinationsOf } from '../../../../plan/ports/externaldestinations.ts'
import { type PortState, serviceKeyOf } from '../../../../plan/ports/port.ts'
import type { Bytes } from '../../bytes.ts'
import { ownerOf } from '../../elements/elements.ts'
import { isPlacement } from '../../elements/placement.ts'
import { portKeys } from '../../elements/plan.ts'
import type { PortRecord } from './record.ts'

/** A Service is small while all its changed ports together weigh less. */
const smallWeight = 512

export interface Lanes {
  readonly small: readonly PortRecord[]
  readonly large: readonly PortRecord[]
  /** Those that the kernel refused before. */
  readonly refused: readonly PortRecord[]
}

/**
 * Sorts ports into lanes, in each the removed ones first: an address is released before another port takes it.
 * @param given keys that large ports being written may release: a port that takes one waits for them
 */
export function lanesOf(records: readonly PortRecord[], given: ReadonlySet<Bytes> = new Set()): Lanes {
  const refused = records.filter(({ refusal }) => refusal !== undefined)
  const others = records.filter(({ refusal }) => refusal === undefined)
  const weights = new Map<string, number>()
  for (const record of others) {
    const service = serviceKeyOf(record.id)
    weights.set(service, (weights.get(service) ?? 0) + weightOf(record))
  }
  const isSmall = ({ id }: PortRecord) => weights.get(serviceKeyOf(id))! < smallWeight
  const [small, large] = [others.filter(isSmall), others.filter(record => !isSmall(record))]
  const waiting = new Set(small.length === 0 ? [] : small.filter(waitsFor(large, given)))
  return {
    small: removedFirst(small.filter(record => !waiting.has(record))),
    large: [...removedFirst(large), ...removedFirst([...waiting])],
    refused: removedFirst(refused),
  }
}

function waitsFor(large: readonly PortRecord[], given: ReadonlySet<Bytes>): (record: PortRecord) => boolean {
  if (large.length + given.size === 0) return () => false
  const own = keysWritten(large)
  return ({ state }) => state !== undefined && portKeys(state).some(key => own.has(key) || given.has(key))
}

function removedFirst(records: readonly PortRecord[]): readonly PortRecord[] {
  return records.toSorted((a, b) => Number(a.state !== undefined) - Number(b.state !== undefined))
}

/** Estimates the work for a port: about as many elements as it has, or is to have. */
export function weightOf({ state, written }: PortRecord): number {
  const has = written === undefined ? 0 : isPlacement(written) ? elementsOfState(written.state) : written.size
  return Math.max(has, state ? elementsOfState(state) : 0)
}

function elementsOfState(state: PortState): number {
  const { endpoints, external } = state
  return 1 + endpoints.length + externalDestinationsOf(state).length * (1 + (external?.clusterEndpoints.length ?? 0))
}

/** Lists the keys under which the kernel has elements of these ports. */
export function keysWritten(records: readonly PortRecord[]): ReadonlySet<Bytes> {
  return new Set(records.flatMap(keysOf))
}

function keysOf({ written }: PortRecord): readonly Bytes[] {
  if (written === undefined) return []
  if (isPlacement(written)) return portKeys(written.state)
  return [...written.keys()].flatMap(name => ownerOf(name) ?? [])
}
