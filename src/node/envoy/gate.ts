/**
 * Which VIP:ports go to Envoy. A Service port moves up when Envoy has acknowledged all that it needs for it (make
 * before break), and moves down at once; what Envoy refuses later leaves it up with its last acknowledged configuration.
 *
 * An acknowledged listener is not yet in every worker of Envoy: a port waits `settleMs` more before it moves up.
 * The kernel layer serves it meanwhile, so nobody notices.
 */

import type { ResourceRef } from '../../envoy/resource.ts'
import type { VipPort } from '../../kernel/overlay.ts'

export interface GateOptions {
  readonly settleMs: number
  /**
   * Whether every Envoy that takes new connections can be reached and has acknowledged this resource as a port needs it to
   * go up or, where it is up, to stay there; false without an Envoy.
   */
  readonly isReady: (ref: ResourceRef, isUp: boolean) => boolean
  /** Puts VIP:ports into the kernel's overlay set, or takes them out. */
  readonly move: (vips: readonly VipPort[], up: boolean) => void
  /** Empties the kernel's overlay set. */
  readonly clear: () => void
  /** These ports, by port state id, moved one by one: not when the whole overlay is emptied. */
  readonly onMoved?: (ids: readonly string[], move: OverlayMove) => void
}

/** A port is `withdrawn` as its owner, or another place of its own, has it; it is `lost` where Envoy lacks what it needs. */
export type OverlayMove = 'up' | 'withdrawn' | 'lost'

interface Candidate {
  /** What goes to Envoy, all at once. */
  readonly vips: readonly VipPort[]
  readonly needs: readonly ResourceRef[]
  up: boolean
}

export class OverlayGate {
  readonly #options: GateOptions
  /** The ports that are meant for Envoy, by id. */
  readonly #candidates = new Map<string, Candidate>()
  /** What a previous run of the agent left in the kernel, by VIP:port; kept until Envoy has reported. */
  readonly #inherited = new Map<string, VipPort>()
  /** Ports that are ready, and since when (milliseconds); in that order. */
  readonly #settling = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #alive = false

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** Takes over the overlay entries of a previous run: they stay up while their ports are wanted. */
  inherit(vips: readonly VipPort[]): void {
    for (const vip of vips) this.#inherited.set(keyOf(vip), vip)
  }

  /** This port is meant for Envoy, which needs these resources for it. Where its VIP:ports are others it comes down first. */
  want(id: string, vips: readonly VipPort[], needs: readonly ResourceRef[]): void {
    const before = this.#candidates.get(id)
    if (before && before.vips.map(keyOf).join() !== vips.map(keyOf).join()) this.unwant(id)
    const inherited = new Set(vips.map(keyOf).filter(key => this.#inherited.has(key)))
    const up = this.#candidates.get(id)?.up ?? inherited.size === vips.length
    // Of several none goes to Envoy before all may.
    if (!up) this.#drop(vip => inherited.has(keyOf(vip)))
    this.#candidates.set(id, { vips, needs, up })
    this.check(id)
  }

  /** Returns whether the port was up: then its connections are to be drained. */
  unwant(id: string): boolean {
    const candidate = this.#candidates.get(id)
    if (!candidate) return false
    this.#candidates.delete(id)
    this.#settling.delete(id)
    this.#disinherit(candidate)
    if (candidate.up) this.#moveDown([id], candidate.vips, 'withdrawn')
    return candidate.up
  }

  /** Envoy acknowledged something that this port needs, or may have. */
  check(id: string): void {
    const candidate = this.#candidates.get(id)
    if (!candidate || !this.#isReady(candidate)) return
    if (candidate.up) {
      this.#disinherit(candidate)
      return
    }
    if (!this.#settling.has(id)) this.#settling.set(id, performance.now())
    this.#timer ??= setTimeout(() => this.#settle(), this.#options.settleMs)
  }

  /** Envoy may have lost something that this port needs: without it the port moves down. */
  checkLoss(id: string): void {
    const candidate = this.#candidates.get(id)
    if (!candidate?.up || this.#hasAll(candidate)) return
    candidate.up = false
    this.#disinherit(candidate)
    this.#moveDown([id], candidate.vips, 'lost')
  }

  /** Envoy answers, or it does not any more: then everything is for the kernel layer. */
  setAlive(alive: boolean): void {
    if (alive === this.#alive) return
    this.#alive = alive
    if (alive) for (const id of this.#candidates.keys()) this.check(id)
    else this.#fall()
  }

  /** All Services are known: what was inherited and is wanted by none of them goes. */
  dropUnwanted(): void {
    const wanted = new Set([...this.#candidates.values()].flatMap(({ vips }) => vips.map(keyOf)))
    this.#drop(vip => !wanted.has(keyOf(vip)))
  }

  /** Envoy had its time to report: what was inherited and is not acknowledged goes. */
  dropUnconfirmed(): void {
    this.#drop(() => true)
  }

  isUp(id: string): boolean {
    return this.#candidates.get(id)?.up ?? false
  }

  get size(): number {
    let up = 0
    for (const candidate of this.#candidates.values()) if (candidate.up) up++
    return up
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #isReady(candidate: Candidate): boolean {
    return this.#alive && this.#hasAll(candidate)
  }

  #hasAll({ needs, up }: Candidate): boolean {
    return needs.every(ref => this.#options.isReady(ref, up))
  }

  #settle(): void {
    this.#timer = undefined
    const now = performance.now()
    const ids: string[] = []
    const up: VipPort[] = []
    for (const [id, since] of this.#settling) {
      const remaining = since + this.#options.settleMs - now
      if (remaining > 1) {
        this.#timer = setTimeout(() => this.#settle(), remaining)
        break
      }
      this.#settling.delete(id)
      const candidate = this.#candidates.get(id)
      if (!candidate || !this.#isReady(candidate)) continue
      candidate.up = true
      ids.push(id)
      up.push(...candidate.vips)
    }
    if (ids.length === 0) return
    this.#options.move(up, true)
    this.#options.onMoved?.(ids, 'up')
  }

  #disinherit({ vips }: Candidate): void {
    for (const vip of vips) this.#inherited.delete(keyOf(vip))
  }

  #moveDown(ids: readonly string[], vips: readonly VipPort[], move: OverlayMove): void {
    this.#options.move(vips, false)
    this.#options.onMoved?.(ids, move)
  }

  #fall(): void {
    this.#settling.clear()
    this.#inherited.clear()
    for (const candidate of this.#candidates.values()) candidate.up = false
    this.#options.clear()
  }

  #drop(isStale: (vip: VipPort) => boolean): void {
    const stale = [...this.#inherited.values()].filter(isStale)
    if (stale.length === 0) return
    const keys = new Set(stale.map(keyOf))
    for (const key of keys) this.#inherited.delete(key)
    const ids = [...this.#candidates].filter(([, { vips }]) => vips.some(vip => keys.has(keyOf(vip)))).map(([id]) => id)
    for (const id of ids) this.#candidates.get(id)!.up = false
    this.#moveDown(ids, stale, 'lost')
  }
}

function keyOf({ ip, port }: VipPort): string {
  return `${ip} ${port}`
}
