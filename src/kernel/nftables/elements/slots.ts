/** The endpoints of a Service port in numbered slots, from which the kernel chooses by a random number. */

import type { Endpoint } from '../../../plan/ports/port.ts'
import type { Family, Transport } from '../../family.ts'
import { addressBytes, addressPortBytes, addressPortOf, type Bytes, portPart, wordBytes } from '../bytes.ts'
import { type ElementName, type ElementSink, type Elements, elementName } from './elements.ts'

/** An address and port, of a VIP or of an external address, by which slots are keyed. */
export interface SlotOwner {
  readonly family: Family
  readonly transport: Transport
  readonly ip: string
  readonly port: number
}

/**
 * Plans the elements of slots from `first` on.
 * @param beside slots of the same owner: what is alike there is left out
 */
export function planSlots(
  elements: ElementSink,
  owner: SlotOwner,
  endpoints: readonly Endpoint[],
  beside: readonly Endpoint[] = [],
  first = 0,
): void {
  const slots = slotsName(owner)
  for (let slot = 0; slot < endpoints.length; slot++) {
    const [endpoint, other] = [endpoints[slot]!, beside[slot]]
    if (other && isSame(endpoint, other)) continue
    elements.set(slots + wordBytes(first + slot), slotValue(endpoint))
  }
}

/** The prefix of the names of its slots. */
function slotsName({ family, transport, ip, port }: SlotOwner): ElementName {
  return elementName(family, `endpoints-${transport}`, addressBytes(ip) + portPart(port))
}

export function slotValue(endpoint: Endpoint): Bytes {
  return addressPortBytes(endpoint)
}

/** Reads the endpoints of the slots from `first` on, up to an empty one, from elements of the kernel. */
export function slotsIn(elements: Elements, owner: SlotOwner, first = 0): readonly Endpoint[] {
  const endpoints: Endpoint[] = []
  const slots = slotsName(owner)
  for (;;) {
    const value = elements.get(slots + wordBytes(first + endpoints.length))
    if (value === undefined) return endpoints
    endpoints.push(addressPortOf(value))
  }
}

/**
 * Keeps each endpoint that stays in the slot that it has, and fills the gaps from the end, so that a change costs what
 * it touches and not the number of endpoints. `before` is what the slots hold now.
 */
export function assignSlots(before: readonly Endpoint[], endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const isAssigned = endpoints.every((endpoint, slot) => before[slot] === undefined || isSame(before[slot], endpoint))
  if (isAssigned) return endpoints
  const slots = new Array<Endpoint | undefined>(endpoints.length).fill(undefined)
  const unassigned: Endpoint[] = []
  const slotOf = slotFinder(before)
  for (const endpoint of endpoints) {
    const slot = slotOf(endpoint)
    if (slot !== undefined && slot < slots.length) slots[slot] = endpoint
    else unassigned.push(endpoint)
  }
  return slots.map(endpoint => endpoint ?? unassigned.pop()!)
}

/** Endpoints that are as they were are mostly the same objects: text is made for the others alone. */
function slotFinder(before: readonly Endpoint[]): (endpoint: Endpoint) => number | undefined {
  const slots = new Map(before.map((endpoint, slot) => [endpoint, slot]))
  let byValue: ReadonlyMap<string, number> | undefined
  return endpoint => {
    const slot = slots.get(endpoint)
    if (slot !== undefined) return slot
    byValue ??= new Map(before.map((held, at) => [slotValue(held), at]))
    return byValue.get(slotValue(endpoint))
  }
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a === b || (a.ip === b.ip && a.port === b.port)
}
