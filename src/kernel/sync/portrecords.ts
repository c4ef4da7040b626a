/**
 * The Service ports of a kernel layer, and which of them may differ from what the kernel has. A layer that extends it
 * writes them.
 */

import type { PortState } from '../../plan/ports/port.ts'

interface DesiredState {
  readonly id: string
  /** The desired state; undefined: nothing any more. */
  state: PortState | undefined
}

export abstract class PortRecords<Port extends DesiredState> {
  protected readonly records = new Map<string, Port>()
  /** Ports that may differ from what the kernel has. */
  protected readonly dirty = new Set<string>()

  /** Begins the record of a port that is new. */
  protected abstract begin(state: PortState): Port

  /** Is called once a port is dirty. */
  protected abstract touched(id: string): void

  get(id: string): Port | undefined {
    return this.records.get(id)
  }

  values(): Iterable<Port> {
    return this.records.values()
  }

  /** Whether something of the port is still to be written. */
  isDirty(id: string): boolean {
    return this.dirty.has(id)
  }

  get areDirty(): boolean {
    return this.dirty.size > 0
  }

  set(state: PortState): void {
    const record = this.records.get(state.id)
    if (record) record.state = state
    else this.records.set(state.id, this.begin(state))
    this.touch(state.id)
  }

  remove(id: string): void {
    this.records.get(id)!.state = undefined
    this.touch(id)
  }

  touch(id: string): void {
    this.dirty.add(id)
    this.touched(id)
  }
}
