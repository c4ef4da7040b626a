/** The endpoints of a Service port in numbered slots, from which the kernel chooses by a random number. */

import type { Endpoint } from '../services/port.ts'
import { type Elements, elementName, type Family, type Transport } from './elements.ts'

/** What keys the slots of an address and port, of a VIP or of a place outside. */
export interface SlotOwner {
  readonly family: Family
  readonly transport: Transport
  readonly ip: string
  readonly port: number
}

export function slotName({ family, transport, ip, port }: SlotOwner, slot: number): string {
  return elementName(family, `endpoints-${transport}`, `${ip} . ${port} . ${slot}`)
}

/** `10.1.0.1 . 8080` */
export function slotValue({ ip, port }: Endpoint): string {
  return `${ip} . ${port}`
}

/** What the slots from `first` on hold among elements read from the kernel, up to one that is empty. */
export function slotsIn(elements: Elements, owner: SlotOwner, first = 0): readonly string[] {
  const values: string[] = []
  for (;;) {
    const value = elements.get(slotName(owner, first + values.length))
    if (value === undefined) return values
    values.push(value)
  }
}

/**
 * Keeps each endpoint that stays in the slot that it has, and fills the gaps from the end, so that a change costs what
 * it touches and not the number of endpoints. `before` is what the slots hold now, by `slotValue`.
 */
export function arrange(before: readonly string[], endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const isArranged = endpoints.every(
    (endpoint, slot) => before[slot] === undefined || before[slot] === slotValue(endpoint),
  )
  if (isArranged) return endpoints
  const slots = new Array<Endpoint | undefined>(endpoints.length).fill(undefined)
  const slotOf = new Map(before.map((value, slot) => [value, slot]))
  const homeless: Endpoint[] = []
  for (const endpoint of endpoints) {
    const slot = slotOf.get(slotValue(endpoint))
    if (slot !== undefined && slot < slots.length) slots[slot] = endpoint
    else homeless.push(endpoint)
  }
  return slots.map(endpoint => endpoint ?? homeless.pop()!)
}
