/** Which VIP:ports shall go to Envoy, and whose they are. What of it the kernel has is written with their Service ports. */

import type { PortState } from '../services/port.ts'

export interface VipPort {
  readonly ip: string
  readonly port: number
}

export class Overlay {
  /** By `10.0.0.1 . 80`, as in the set `envoy`. */
  readonly #wanted = new Set<string>()
  /** The id of the Service port that owns each. */
  readonly #owners = new Map<string, string>()
  /** Entries of a previous run that nobody has said anything about yet. */
  readonly #inherited = new Set<string>()

  get inherited(): readonly VipPort[] {
    return [...this.#inherited].map(parseVipPort)
  }

  has(state: PortState): boolean {
    return this.#wanted.has(vipPortKey({ ip: state.vip, port: state.port.port }))
  }

  /** @param key as the kernel has it */
  inherit(key: string): void {
    this.#wanted.add(key)
    this.#inherited.add(key)
  }

  /** Returns the ids of the ports that this is about. */
  set(vipPorts: readonly VipPort[], on: boolean): readonly string[] {
    const touched: string[] = []
    for (const vipPort of vipPorts) {
      const key = vipPortKey(vipPort)
      this.#inherited.delete(key)
      if (on === this.#wanted.has(key)) continue
      if (on) this.#wanted.add(key)
      else this.#wanted.delete(key)
      const owner = this.#owners.get(key)
      if (owner !== undefined) touched.push(owner)
    }
    return touched
  }

  clear(): void {
    this.#wanted.clear()
    this.#inherited.clear()
  }

  /** A VIP:port that leaves its port leaves the overlay with it. */
  changeOwner(id: string, before: PortState | undefined, after: PortState | undefined): void {
    const [left, owned] = [overlayKey(before), overlayKey(after)]
    if (left !== undefined && left !== owned && this.#owners.get(left) === id) {
      this.#owners.delete(left)
      this.#wanted.delete(left)
      this.#inherited.delete(left)
    }
    if (owned !== undefined) this.#owners.set(owned, id)
  }
}

function vipPortKey({ ip, port }: VipPort): string {
  return `${ip} . ${port}`
}

function parseVipPort(key: string): VipPort {
  const [ip, port] = key.split(' . ') as [string, string]
  return { ip, port: Number(port) }
}

/** Undefined for what cannot be in the overlay. */
function overlayKey(state: PortState | undefined): string | undefined {
  return state?.port.protocol === 'TCP' ? vipPortKey({ ip: state.vip, port: state.port.port }) : undefined
}
