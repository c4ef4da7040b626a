/**
 * Keeps what the kernel redirects to Envoy: the addresses of promoted frontends. A frontend is promoted when Envoy has
 * acknowledged everything that it needs (make before break), and demoted at once. If Envoy rejects something later, the
 * frontend stays promoted with its last acknowledged configuration.
 *
 * An acknowledged listener is not yet in every worker of Envoy: a frontend settles for `settleMs` before it is promoted.
 * The kernel layer serves it meanwhile, so nobody notices.
 */

import type { ResourceRef } from '../../envoy/resource.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { Lifecycle, Redirect } from './lifecycle.ts'

export interface RedirectSetOptions {
  readonly settleMs: number
  /**
   * Whether every Envoy that takes new connections can be reached and has acknowledged this resource as a frontend
   * needs it to be promoted or, if it is, to stay so; false without an Envoy.
   */
  readonly isReady: (ref: ResourceRef, isRedirected: boolean) => boolean
  /** Adds addresses to the kernel's redirect set, or removes them. */
  readonly move: (addresses: readonly VipPort[], isRedirected: boolean) => void
  /** Empties the kernel's redirect set. */
  readonly clear: () => void
  /** These frontends, by id, one by one: not called when the whole set is emptied. */
  readonly onMoved?: (ids: readonly string[], move: RedirectMove) => void
}

/** `withdrawn`: its owner, or another address of its own, wants it so. `lost`: Envoy lacks what it needs. */
export type RedirectMove = 'promoted' | 'withdrawn' | 'lost'

export class RedirectSet {
  readonly #options: RedirectSetOptions
  readonly #lives: () => Iterable<Lifecycle>
  /** What a previous run of the agent left in the kernel, by address; kept until Envoy has reported. */
  readonly #inherited = new Map<string, VipPort>()
  /** In the order in which they began to settle. */
  readonly #settling = new Set<Lifecycle>()
  #timer: NodeJS.Timeout | undefined
  #isAlive = false

  constructor(options: RedirectSetOptions, lives: () => Iterable<Lifecycle>) {
    this.#options = options
    this.#lives = lives
  }

  /** Takes over what a previous run left: it stays while its frontends are wanted. */
  inherit(addresses: readonly VipPort[]): void {
    for (const address of addresses) this.#inherited.set(keyOf(address), address)
  }

  /** The frontend was published. If the kernel redirects other addresses for it, these come out first. */
  published(life: Lifecycle, redirect: Redirect): void {
    const keys = redirect.addresses.map(keyOf)
    if (life.redirect && life.redirect.addresses.map(keyOf).join() !== keys.join()) this.#takeOut(life, 'withdrawn')
    const elsewhere = new Set(
      redirect.addresses.map(({ isShared, ...address }) => keyOf({ ...address, isShared: !isShared })),
    )
    // A previous run redirected them to another of Envoy's listeners.
    this.#drop(address => elsewhere.has(keyOf(address)))
    const inherited = new Set(keys.filter(key => this.#inherited.has(key)))
    life.on(inherited.size === keys.length ? 'resumed' : 'published')
    // None of several addresses goes to Envoy before all may.
    if (!life.isRedirected && inherited.size > 0) this.#drop(address => inherited.has(keyOf(address)))
    life.redirect = redirect
    this.check(life)
  }

  /** The frontend moves within Envoy, or leaves it. */
  withdraw(life: Lifecycle, why: 'moved' | 'unwanted'): void {
    const { isRedirected, redirect } = life
    if (!life.on(why) || !redirect) return
    life.redirect = undefined
    this.#disinherit(redirect)
    if (isRedirected) this.#moveOut([life.id], redirect.addresses, 'withdrawn')
  }

  /** Envoy acknowledged something that this frontend needs, or may need. */
  check(life: Lifecycle): void {
    if (!this.#isReady(life) || !life.on('acknowledged')) return
    if (life.isRedirected) {
      this.#disinherit(life.redirect!)
      return
    }
    life.settlingSince = performance.now()
    // To the end, where it was among them before it lost something.
    this.#settling.delete(life)
    this.#settling.add(life)
    this.#timer ??= setTimeout(() => this.#settle(), this.#options.settleMs)
  }

  /** Envoy may have lost something that this frontend needs: without it the kernel layer serves it. */
  checkLoss(life: Lifecycle): void {
    if (life.isRedirected && !this.#hasAll(life)) this.#takeOut(life, 'lost')
  }

  /** Envoy began or ceased to answer; in the second case everything goes to the kernel layer. */
  setAlive(isAlive: boolean): void {
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) for (const life of this.#lives()) this.check(life)
    else this.#empty()
  }

  /**
   * All Services are known: inherited addresses that none of them wants go. The others are redirected again where the
   * kernel has dropped them, as it does when a Service goes and comes back before this.
   */
  dropUnwanted(): void {
    const wanted = new Set([...this.#lives()].flatMap(({ redirect }) => redirect?.addresses.map(keyOf) ?? []))
    this.#drop(address => !wanted.has(keyOf(address)))
    if (this.#inherited.size > 0) this.#options.move([...this.#inherited.values()], true)
  }

  /** Envoy had its time to report: inherited addresses that it has not acknowledged go. */
  dropUnconfirmed(): void {
    this.#drop(() => true)
  }

  get size(): number {
    let size = 0
    for (const { isRedirected } of this.#lives()) if (isRedirected) size++
    return size
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #isReady(life: Lifecycle): boolean {
    return this.#isAlive && this.#hasAll(life)
  }

  #hasAll({ redirect, isRedirected }: Lifecycle): boolean {
    return redirect?.needs.every(ref => this.#options.isReady(ref, isRedirected)) ?? false
  }

  #settle(): void {
    this.#timer = undefined
    const now = performance.now()
    const promoted: Lifecycle[] = []
    for (const life of this.#settling) {
      const remaining = life.settlingSince + this.#options.settleMs - now
      if (life.state === 'settling' && remaining > 1) {
        this.#timer = setTimeout(() => this.#settle(), remaining)
        break
      }
      this.#settling.delete(life)
      if (life.state !== 'settling') continue
      if (this.#isReady(life) && life.on('settled')) promoted.push(life)
      else life.on('lost')
    }
    if (promoted.length === 0) return
    this.#options.move(
      promoted.flatMap(({ redirect }) => redirect!.addresses),
      true,
    )
    this.#options.onMoved?.(
      promoted.map(({ id }) => id),
      'promoted',
    )
  }

  #takeOut(life: Lifecycle, move: Exclude<RedirectMove, 'promoted'>): void {
    const { isRedirected, redirect } = life
    life.on('lost')
    if (!redirect) return
    this.#disinherit(redirect)
    if (isRedirected) this.#moveOut([life.id], redirect.addresses, move)
  }

  #disinherit({ addresses }: Redirect): void {
    for (const address of addresses) this.#inherited.delete(keyOf(address))
  }

  #moveOut(ids: readonly string[], addresses: readonly VipPort[], move: RedirectMove): void {
    this.#options.move(addresses, false)
    this.#options.onMoved?.(ids, move)
  }

  #empty(): void {
    this.#settling.clear()
    this.#inherited.clear()
    for (const life of this.#lives()) life.on('lost')
    this.#options.clear()
  }

  #drop(isStale: (address: VipPort) => boolean): void {
    const stale = [...this.#inherited.values()].filter(isStale)
    if (stale.length === 0) return
    const keys = new Set(stale.map(keyOf))
    for (const key of keys) this.#inherited.delete(key)
    const lost = [...this.#lives()].filter(({ redirect }) => redirect?.addresses.some(one => keys.has(keyOf(one))))
    for (const life of lost) life.on('lost')
    this.#moveOut(
      lost.map(({ id }) => id),
      stale,
      'lost',
    )
  }
}

function keyOf({ ip, port, isShared = false }: VipPort): string {
  return `${ip} ${port} ${isShared}`
}
