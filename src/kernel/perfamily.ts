/**
 * Makes one kernel layer of one for each IP family: what the kernel refuses in one family keeps nothing of the other
 * from being installed, written, watched or corrected.
 */

import { familyOf, type IpFamily } from '../net/address.ts'
import type { PolicyFacts } from '../plan/policies.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { ClientAddress } from '../services/settings/clientaddress.ts'
import type { KernelLayer, PortSnapshot } from './layer.ts'
import type { NodeFacts } from './nodeconfig.ts'
import type { VipPort } from './overlay.ts'

export class LayerPerFamily implements KernelLayer {
  readonly #layers: ReadonlyMap<IpFamily, KernelLayer>
  /** Has ports of families that are not served, of which it writes nothing. */
  readonly #first: KernelLayer

  /** @param create a layer of this family alone */
  constructor(families: readonly IpFamily[], create: (family: IpFamily) => KernelLayer) {
    this.#layers = new Map(families.map(family => [family, create(family)]))
    this.#first = this.#layers.get(families[0]!)!
  }

  async start(): Promise<readonly VipPort[]> {
    return (await this.#all(layer => layer.start())).flat()
  }

  async synced(): Promise<void> {
    await this.#all(layer => layer.synced())
  }

  setNode(node: NodeFacts | undefined): void {
    for (const layer of this.#each()) layer.setNode(node)
  }

  setServiceRanges(serviceRanges: readonly string[]): void {
    for (const layer of this.#each()) layer.setServiceRanges(serviceRanges)
  }

  setPort(state: PortState): void {
    const layer = this.#layers.get(state.family) ?? this.#first
    layer.setPort(state)
  }

  removePort(id: string): void {
    for (const layer of this.#each()) layer.removePort(id)
  }

  setOverlay(vipPorts: readonly VipPort[], on: boolean): void {
    for (const [family, layer] of this.#layers) {
      const own = vipPorts.filter(({ ip }) => familyOf(ip) === family)
      if (own.length > 0) layer.setOverlay(own, on)
    }
  }

  async setClientAddress(clientAddress: ClientAddress): Promise<void> {
    await this.#all(layer => layer.setClientAddress(clientAddress))
  }

  setPolicies(policies: PolicyFacts): void {
    for (const layer of this.#each()) layer.setPolicies(policies)
  }

  clearOverlay(): void {
    for (const layer of this.#each()) layer.clearOverlay()
  }

  dropInheritedOverlay(): void {
    for (const layer of this.#each()) layer.dropInheritedOverlay()
  }

  async calls(): Promise<ReadonlyMap<string, number>> {
    return new Map((await this.#all(layer => layer.calls())).flatMap(calls => [...calls]))
  }

  snapshot(id: string): PortSnapshot | undefined {
    for (const layer of this.#each()) {
      const snapshot = layer.snapshot(id)
      if (snapshot) return snapshot
    }
    return undefined
  }

  get totals(): ReadonlyMap<string, number> {
    return new Map([...this.#each()].flatMap(layer => [...layer.totals]))
  }

  async settled(): Promise<void> {
    await this.#all(layer => layer.settled())
  }

  async close(): Promise<void> {
    await this.#all(layer => layer.close())
  }

  #each(): Iterable<KernelLayer> {
    return this.#layers.values()
  }

  #all<T>(what: (layer: KernelLayer) => Promise<T>): Promise<T[]> {
    return Promise.all([...this.#each()].map(what))
  }
}
