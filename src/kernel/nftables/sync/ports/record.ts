/** The desired and the written state of a Service port, and how it gets from one to the other. */

import type { PortState } from '../../../../plan/ports/port.ts'
import type { Problem } from '../../../../services/problem.ts'
import { type NodeFacts, primaryAddress } from '../../../nodeconfig.ts'
import type { PlanOptions } from '../../../options.ts'
import { type ElementSink, type Elements, isOverlaySet, setOf } from '../../elements/elements.ts'
import { isPlacement, place, type Written } from '../../elements/placement.ts'
import {
  nothingRedirected,
  type Placement,
  placementOf,
  planInto,
  planPort,
  type Redirected,
} from '../../elements/plan.ts'
import type { Change } from '../transaction/tablecache.ts'

export interface PortRecord {
  readonly id: string
  /** The desired state; undefined: nothing any more. */
  state: PortState | undefined
  /** The written state. Elements as they were read, where the port could not be written since. */
  written: Written
  refusal: { readonly attempts: number; readonly problem: Problem; readonly timer: NodeJS.Timeout } | undefined
}

export interface PortChange extends Change {
  readonly record: PortRecord
  readonly state: PortState | undefined
  readonly placement: Placement | undefined
  /** The state that the port's elements in the kernel were made from, where that is known. */
  readonly before: PortState | undefined
}

export const noElements: Elements = new Map()

export function changeOf(
  record: PortRecord,
  redirected: Redirected,
  node: NodeFacts | undefined,
  options: PlanOptions,
): PortChange {
  const { state, written } = record
  const placement = state && place(state, written, redirected, primaryAddress(node, state.family))
  const before = written && isPlacement(written) ? written : undefined
  const wanted = placement ? planPort(placement, options, before) : noElements
  const current = before && placement ? planPort(before, options, placement) : elementsOf(record, options)
  return { record, state, before: before?.state, placement, current, wanted }
}

/**
 * Plans what a port shall have, where nothing is known of what it has.
 * @param elements takes the plan; the change itself has none of it
 */
export function planRecord(
  elements: ElementSink,
  { state }: Pick<PortRecord, 'state'>,
  redirected: Redirected,
  node: NodeFacts | undefined,
  options: PlanOptions,
): Placement | undefined {
  const placement = state && placementOf(state, redirected, primaryAddress(node, state.family))
  if (placement) planInto(elements, placement, options)
  return placement
}

export function elementsOf({ written }: Pick<PortRecord, 'written'>, options: PlanOptions): Elements {
  if (!written) return noElements
  return isPlacement(written) ? planPort(written, options) : written
}

/** Gives the elements of `elementsOf` to `elements`, without a map of them. */
export function eachWritten(
  { written }: Pick<PortRecord, 'written'>,
  options: PlanOptions,
  elements: ElementSink,
): void {
  if (!written) return
  if (isPlacement(written)) planInto(elements, written, options)
  else for (const [name, value] of written) elements.set(name, value)
}

/**
 * Whether new connections to the port go to Envoy, and are to go on to. What Envoy is told at the same time comes first:
 * with 10,000 Services a transaction that changes a port's number of endpoints takes 2 ms, in which no answer of Envoy
 * is read.
 */
export function staysRedirected({ written }: PortRecord, redirected: Redirected): boolean {
  return (
    written !== undefined && isPlacement(written) && written.redirected.keys.length > 0 && redirected.keys.length > 0
  )
}

/** Forgets the overlay, which was emptied by other means. */
export function forgetOverlay(record: PortRecord): void {
  const { written } = record
  if (!written) return
  if (isPlacement(written)) {
    record.written = { ...written, redirected: nothingRedirected }
  } else record.written = new Map([...written].filter(([name]) => !isOverlaySet(setOf(name).set)))
}
