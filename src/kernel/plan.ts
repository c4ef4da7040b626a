/** What one Service port needs in the kernel, as elements of our maps and sets. Pure. */

import type { IpFamily } from '../services/address.ts'
import type { Endpoint, PortState } from '../services/port.ts'
import { affinityVerdict, planAffinity } from './affinity.ts'
import { type Elements, elementName, familyNames, transportOf } from './elements.ts'

/** A Service port as it is, or shall be, in the kernel. */
export interface Placement {
  readonly state: PortState
  /** The endpoints in the slots that the kernel chooses from: slot i of N is `[i]`. With affinity in any lasting order. */
  readonly slots: readonly Endpoint[]
  /** Whether the VIP:port goes to Envoy. */
  readonly overlay: boolean
}

export interface PlanOptions {
  readonly families: readonly IpFamily[]
  readonly nodeName: string
}

/**
 * A port with endpoints is served; one without is refused at once, as by kube-proxy, or dropped where endpoints exist
 * that this node may not use. Only a TCP port that is served can be in the overlay.
 *
 * An endpoint needs its `hairpin` element only on its own node, where it can be its own client; one whose node is not
 * known may be here.
 */
export function planPort({ state, slots, overlay }: Placement, { families, nodeName }: PlanOptions): Elements {
  const elements = new Map<string, string>()
  if (!families.includes(state.family)) return elements
  const family = familyNames[state.family]
  const key = portKey(state)
  if (slots.length === 0) {
    return elements.set(elementName(family, 'no-endpoints', key), state.onlyElsewhere ? 'drop' : 'goto refuse')
  }
  const transport = transportOf[state.port.protocol]
  const seconds = state.affinitySeconds
  if (seconds === undefined) {
    elements.set(elementName(family, 'services', key), `goto endpoints-${transport}-${slots.length}`)
    slots.forEach((endpoint, slot) => void elements.set(slotName(state, slot), slotValue(endpoint)))
  } else {
    elements.set(elementName(family, 'services', key), affinityVerdict(key))
    const own = planAffinity({ family, key, transport, endpoints: slots, seconds })
    for (const [name, value] of own) elements.set(name, value)
  }
  for (const endpoint of slots) {
    if (endpoint.nodeName === undefined || endpoint.nodeName === nodeName) {
      elements.set(elementName(family, 'hairpin', `${endpoint.ip} . ${endpoint.ip}`), '')
    }
  }
  if (overlay && state.port.protocol === 'TCP') {
    elements.set(elementName(family, 'envoy', `${state.vip} . ${state.port.port}`), '')
  }
  return elements
}

/** `10.0.0.1 . tcp . 80` */
export function portKey({ vip, port }: PortState): string {
  return `${vip} . ${transportOf[port.protocol]} . ${port.port}`
}

function slotName({ family, vip, port }: PortState, slot: number): string {
  return elementName(familyNames[family], `endpoints-${transportOf[port.protocol]}`, `${vip} . ${port.port} . ${slot}`)
}

/** `10.1.0.1 . 8080` */
export function slotValue({ ip, port }: Endpoint): string {
  return `${ip} . ${port}`
}

/** What the slots of a port hold among elements read from the kernel, up to the first that is empty. */
export function slotsIn(elements: Elements, state: PortState): readonly string[] {
  const values: string[] = []
  for (;;) {
    const value = elements.get(slotName(state, values.length))
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

/** What has to go and what has to come, so that `current` becomes `wanted`. A changed value does both. */
export interface Difference {
  readonly removed: readonly string[]
  readonly added: readonly (readonly [name: string, value: string])[]
}

export function difference(current: Elements, wanted: Elements): Difference {
  const removed: string[] = []
  const added: [string, string][] = []
  for (const [name, value] of current) if (wanted.get(name) !== value) removed.push(name)
  for (const [name, value] of wanted) if (current.get(name) !== value) added.push([name, value])
  return { removed, added }
}
