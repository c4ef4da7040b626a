/** What a Service port shall have in the kernel, what it has there, and how it gets from one to the other. */

import type { PortState } from '../services/port.ts'
import type { Problem } from '../services/problem.ts'
import { type Elements, partsOf } from './elements.ts'
import type { Change } from './mirror.ts'
import { arrange, type Placement, type PlanOptions, planPort, slotsIn, slotValue } from './plan.ts'

export interface PortRecord {
  readonly id: string
  /** What it shall have; undefined: nothing any more. */
  state: PortState | undefined
  /** What it has. Elements as they were read, where the port could not be written since. */
  written: Placement | Elements | undefined
  refusal: { readonly attempts: number; readonly problem: Problem; readonly timer: NodeJS.Timeout } | undefined
}

export interface PortChange extends Change {
  readonly record: PortRecord
  readonly state: PortState | undefined
  readonly placement: Placement | undefined
}

const noElements: Elements = new Map()

export function changeOf(record: PortRecord, overlay: boolean, options: PlanOptions): PortChange {
  const { state, written } = record
  const placement = state && place(state, written, overlay)
  const wanted = placement ? planPort(placement, options) : noElements
  return { record, state, placement, current: elementsOf(record, options), wanted }
}

function place(state: PortState, written: PortRecord['written'], overlay: boolean): Placement {
  // A chain of affinity is written as a whole: there are no slots to keep.
  const isWhole = state.affinitySeconds !== undefined
  const slots = isWhole ? state.endpoints : arrange(slotsBefore(state, written), state.endpoints)
  return { state, slots, overlay }
}

export function elementsOf({ written }: Pick<PortRecord, 'written'>, options: PlanOptions): Elements {
  if (!written) return noElements
  return isPlacement(written) ? planPort(written, options) : written
}

/** The overlay was emptied by other means. */
export function forgetOverlay(record: PortRecord): void {
  const { written } = record
  if (!written) return
  if (isPlacement(written)) {
    if (written.overlay) record.written = { ...written, overlay: false }
  } else record.written = new Map([...written].filter(([name]) => partsOf(name).set !== 'envoy'))
}

function isPlacement(written: Placement | Elements): written is Placement {
  return 'slots' in written
}

function slotsBefore(state: PortState, written: PortRecord['written']): readonly string[] {
  if (!written) return []
  return isPlacement(written) ? written.slots.map(slotValue) : slotsIn(written, state)
}
