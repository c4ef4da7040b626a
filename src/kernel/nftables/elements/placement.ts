/** Where the endpoints of a Service port go, given where the kernel has them. */

import { placesOf } from '../../../plan/ports/places.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'
import { familyNames, transportOf } from '../../family.ts'
import type { Elements } from './elements.ts'
import { localSlots, type OutsideSlots } from './external.ts'
import { type Placement, placementOf, type Steered, vipSlots } from './plan.ts'
import { arrange, type SlotOwner, slotsIn } from './slots.ts'

/** What the kernel has of a port: as it was written, or as it was read. */
export type Written = Placement | Elements | undefined

export function isPlacement(written: Placement | Elements): written is Placement {
  return 'slots' in written
}

/** Endpoints that stay keep their slots; see `arrange`. */
export function place(
  state: PortState,
  written: Written,
  steered: Steered,
  nodeAddress: string | undefined,
): Placement {
  const fresh = placementOf(state, steered, nodeAddress)
  // A chain of affinity is written as a whole: there are no slots to keep.
  if (!written || state.affinitySeconds !== undefined) return fresh
  const before = isPlacement(written) ? slotsOf(written) : slotsRead(state, written)
  const { slots, outside } = fresh
  return {
    ...fresh,
    slots: arrange(before.vip, slots),
    outside: { cluster: arrange(before.cluster, outside.cluster), local: arrange(before.local, outside.local) },
  }
}

interface Slots extends OutsideSlots {
  readonly vip: readonly Endpoint[]
}

function slotsOf({ slots, outside }: Placement): Slots {
  return { ...outside, vip: slots }
}

/** All places of a port have the same slots. */
function slotsRead(state: PortState, elements: Elements): Slots {
  const [family, transport] = [familyNames[state.family], transportOf[state.port.protocol]]
  const [owner]: readonly SlotOwner[] = placesOf(state).map(({ ip, port }) => ({ family, transport, ip, port }))
  return {
    vip: slotsIn(elements, vipSlots(state)),
    cluster: owner ? slotsIn(elements, owner) : [],
    local: owner ? slotsIn(elements, owner, localSlots) : [],
  }
}
