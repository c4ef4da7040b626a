/** The endpoints of a Service port in numbered slots, from which the kernel chooses by a random number. */

import { compareEndpoints, type Endpoint } from '../../../plan/ports/port.ts'
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
 * it touches and not the number of endpoints: those that stay are mostly the same objects, and cost a comparison.
 *
 * @param before what the slots hold now
 * @param inOrder the same in the order of endpoints (`compareEndpoints`), as these are
 */
export function assignSlots(
  before: readonly Endpoint[],
  endpoints: readonly Endpoint[],
  inOrder: readonly Endpoint[] = before.toSorted(compareEndpoints),
): readonly Endpoint[] {
  const isAssigned = endpoints.every((endpoint, slot) => before[slot] === undefined || isSame(before[slot], endpoint))
  if (isAssigned) return endpoints
  const { became, unassigned } = changesBetween(inOrder, endpoints)
  const held = became.size === 0 ? before : before.map(one => (became.has(one) ? became.get(one) : one))
  for (const one of held.slice(endpoints.length)) if (one) unassigned.push(one)
  return endpoints.map((_, slot) => held[slot] ?? unassigned.pop()!)
}

interface Changes {
  /** Those that are different objects now, or gone (undefined). */
  readonly became: ReadonlyMap<Endpoint, Endpoint | undefined>
  readonly unassigned: Endpoint[]
}

function changesBetween(known: readonly Endpoint[], endpoints: readonly Endpoint[]): Changes {
  const became = new Map<Endpoint, Endpoint | undefined>()
  const unassigned: Endpoint[] = []
  let at = 0
  for (const endpoint of endpoints) {
    while (at < known.length && known[at] !== endpoint && compareEndpoints(known[at]!, endpoint) < 0)
      became.set(known[at++]!, undefined)
    const before = known[at]
    if (!before || !isSame(before, endpoint)) unassigned.push(endpoint)
    else {
      if (before !== endpoint) became.set(before, endpoint)
      at++
    }
  }
  for (const gone of known.slice(at)) became.set(gone, undefined)
  return { became, unassigned }
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a === b || (a.ip === b.ip && a.port === b.port)
}
