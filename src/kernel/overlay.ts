/**
 * Keeps which VIP:ports and external addresses shall go to Envoy, and which Service ports own them. What the kernel has
 * of them is written with their Service ports.
 */

import type { PortState } from '../plan/ports/port.ts'
import { addressPortBytes, addressPortOf, type Bytes } from './nftables/bytes.ts'
import { nothingRedirected, overlayKeys, type Redirected } from './nftables/elements/plan.ts'

/** Or an external address; a node port has the unspecified address. */
export interface VipPort {
  readonly ip: string
  readonly port: number
  /** It goes to the listener that Service ports share, not to one of its own. Default false. */
  readonly isShared?: boolean
}

export class Overlay {
  /** Entries of the overlay, each by itself: keys of its sets. */
  readonly #wanted = new Map<Bytes, Redirected>()
  /** The id of the Service port that owns each. */
  readonly #owners = new Map<Bytes, string>()
  /** Entries of a previous run that nobody has said anything about yet. */
  readonly #inherited = new Set<Bytes>()

  get inherited(): readonly VipPort[] {
    return [...this.#inherited].map(key => {
      const address = addressPortOf(key)
      return this.#wanted.get(key)?.isShared ? { ...address, isShared: true } : address
    })
  }

  /** Returns what of a port goes to Envoy. */
  of(state: PortState): Redirected {
    const redirected = overlayKeys(state).flatMap(key => this.#wanted.get(key) ?? [])
    // Most ports have their VIP there and nothing else: that needs no copy.
    if (redirected.length <= 1) return redirected[0] ?? nothingRedirected
    return { keys: redirected.flatMap(({ keys }) => keys), isShared: redirected[0]!.isShared }
  }

  inherit(vipPort: VipPort): void {
    const key = addressPortBytes(vipPort)
    this.#wanted.set(key, redirectedAt(key, vipPort))
    this.#inherited.add(key)
  }

  /** Returns the id of the Service port whose VIP or external address this is. */
  ownerOf(key: Bytes): string | undefined {
    return this.#owners.get(key)
  }

  /** Returns the ids of the ports concerned. */
  set(vipPorts: readonly VipPort[], on: boolean): readonly string[] {
    const touched: string[] = []
    for (const vipPort of vipPorts) {
      const key = addressPortBytes(vipPort)
      this.#inherited.delete(key)
      const before = this.#wanted.get(key)
      if (on ? before?.isShared === isShared(vipPort) : !before) continue
      if (on) this.#wanted.set(key, redirectedAt(key, vipPort))
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

  /** Removes a VIP:port that its port no longer has from the overlay. */
  changeOwner(id: string, before: PortState | undefined, after: PortState | undefined): void {
    if (before && after && haveSameKeys(before, after)) return
    const owned = overlayKeys(after)
    for (const left of overlayKeys(before)) {
      if (owned.includes(left) || this.#owners.get(left) !== id) continue
      this.#owners.delete(left)
      this.#wanted.delete(left)
      this.#inherited.delete(left)
    }
    for (const key of owned) this.#owners.set(key, id)
  }
}

/**
 * Returns what of a port goes to Envoy once Envoy has acknowledged it.
 * @param sharesListener whether the port's VIP goes to the listener that Service ports share
 */
export function meantForEnvoy(state: PortState, sharesListener: (state: PortState) => boolean): Redirected {
  const [vip, ...places] = overlayKeys(state)
  if (vip === undefined) return nothingRedirected
  if (state.layer.wants !== 'envoy') return { keys: places, isShared: false }
  return { keys: [vip, ...places], isShared: sharesListener(state) }
}

function isShared({ isShared = false }: VipPort): boolean {
  return isShared
}

function redirectedAt(key: Bytes, vipPort: VipPort): Redirected {
  return { keys: [key], isShared: isShared(vipPort) }
}

/** Compares keys without making any: most changes of a port are of its endpoints. */
function haveSameKeys(a: PortState, b: PortState): boolean {
  const isSamePort = a.port.port === b.port.port && a.port.protocol === b.port.protocol
  return a.vip === b.vip && isSamePort && a.external === b.external
}
