import type { PortState } from '../../../plan/ports/port.ts'
import type { KernelLayer, PortSnapshot } from '../../layer.ts'
import type { VipPort } from '../../overlay.ts'

/** Keeps what it is given, and writes none of it. */
export class EmptyLayer implements KernelLayer {
  readonly ports = new Map<string, PortState>()
  isSynced = false
  readonly totals = new Map<string, number>()

  async start(): Promise<readonly VipPort[]> {
    return []
  }

  async synced(): Promise<void> {
    this.isSynced = true
  }

  setPort(state: PortState): void {
    this.ports.set(state.id, state)
  }

  removePort(id: string): void {
    this.ports.delete(id)
  }

  snapshot(id: string): PortSnapshot | undefined {
    return this.ports.has(id) ? { elements: [], pending: false, problem: undefined } : undefined
  }

  async calls(): Promise<ReadonlyMap<string, number>> {
    return new Map()
  }

  setNode(): void {}
  setServiceRanges(): void {}
  setOverlay(): void {}
  setPolicies(): void {}
  clearOverlay(): void {}
  dropInheritedOverlay(): void {}
  async setClientAddress(): Promise<void> {}
  async settled(): Promise<void> {}
  async close(): Promise<void> {}
}
