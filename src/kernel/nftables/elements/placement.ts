/** Places the endpoints of a Service port, given where the kernel has them. */

import { externalDestinationsOf } from '../../../plan/ports/externaldestinations.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'
import { familyNames, transportOf } from '../../family.ts'
import type { Elements } from './elements.ts'
import { type ExternalSlots, localSlots } from './external.ts'
import { type Placement, placementOf, type Redirected, vipSlots } from './plan.ts'
import { assignSlots, type SlotOwner, slotsIn } from './slots.ts'

/** The placement of a port in the kernel, as it was written, or its elements, as they were read. */
export type Written = Placement | Elements | undefined

export function isPlacement(written: Placement | Elements): written is Placement {
  return 'slots' in written
}

/** Endpoints that stay keep their slots; see `assignSlots`. */
export function place(
  state: PortState,
  written: Written,
  redirected: Redirected,
  nodeAddress: string | undefined,
): Placement {
  const fresh = placementOf(state, redirected, nodeAddress)
  // A chain of affinity is written as a whole: there are no slots to keep.
  if (!written || state.affinitySeconds !== undefined) return fresh
  const before = isPlacement(written) ? slotsOf(written) : slotsRead(state, written)
  const inOrder = isPlacement(written) ? slotsOf(placementOf(written.state, redirected)) : undefined
  const assign = (way: keyof Slots, endpoints: readonly Endpoint[]) =>
    assignSlots(before[way], endpoints, inOrder?.[way])
  const { slots, external } = fresh
  return {
    ...fresh,
    slots: assign('vip', slots),
    external: { cluster: assign('cluster', external.cluster), local: assign('local', external.local) },
  }
}

interface Slots extends ExternalSlots {
  readonly vip: readonly Endpoint[]
}

function slotsOf({ slots, external }: Placement): Slots {
  return { ...external, vip: slots }
}

/** Reads the slots of a port, which are the same for all its frontends. */
function slotsRead(state: PortState, elements: Elements): Slots {
  const [family, transport] = [familyNames[state.family], transportOf[state.port.protocol]]
  const [owner]: readonly SlotOwner[] = externalDestinationsOf(state).map(({ ip, port }) => ({
    family,
    transport,
    ip,
    port,
  }))
  return {
    vip: slotsIn(elements, vipSlots(state)),
    cluster: owner ? slotsIn(elements, owner) : [],
    local: owner ? slotsIn(elements, owner, localSlots) : [],
  }
}
