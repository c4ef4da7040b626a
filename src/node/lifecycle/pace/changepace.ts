/**
 * Limits how fast a namespace may change what Envoy has of it. Envoy keeps a changed or removed listener, some 30 kB,
 * for its drain time (an hour), a changed filter for as long as a connection has it, and a port's resources until its
 * connections are gone, so whoever changes a Service again and again would fill its memory. Beyond the pace a port keeps its listener as it is, or waits in the
 * kernel layer for its new address, and what its owner wrote last applies when there is room.
 *
 * A change of one endpoint has Envoy's threads walk all endpoints of the port: one of 1,000 that flaps behind 100 ports
 * took them from everybody. So endpoints of large ports, too, are published at a pace; and so is what changes of small
 * ports, of which a Service may have a hundred that change at once.
 *
 * All namespaces together have four times what one has, and of that each has a fair share: who changes little waits for
 * nobody, whoever else changes much.
 */

import { isDeepStrictEqual } from 'node:util'
import { envoyEndpointsOf, type Frontend } from '../../../envoy/resources/frontend.ts'
import { hasOwnListeners, listenerSettings } from '../../../envoy/resources/listener.ts'
import { areReachedAlike } from '../../../envoy/resources/resources.ts'
import { hostPort } from '../../../net/address.ts'
import { type BucketOptions, Buckets } from '../../../observe/rates/buckets.ts'
import { NamespaceLimit } from '../../../observe/rates/namespacelimit.ts'

export interface PaceOptions {
  /** Changes of a port: of its listener, or to another address. Default 10, and 10 an hour. */
  readonly port?: BucketOptions
  /** Changes of listeners in a namespace. Default 500, and 500 an hour. */
  readonly listeners?: BucketOptions
  /**
   * Changes of endpoints and settings of smaller ports, in a namespace; each of a port whose endpoints Envoy puts into
   * a table anew counts as twenty, and one of settings as five. Default 1000, and 500 a second.
   */
  readonly changes?: BucketOptions
  /** Published endpoints, in thousands of a port, in a namespace. Default 20, and 5 a second. */
  readonly endpoints?: BucketOptions
  /**
   * New ports of a namespace. Default 2500, and as many in the quarter of an hour in which demoted ports are gone from
   * Envoy.
   */
  readonly addresses?: BucketOptions
}

const hour = 3600e3
const defaults = {
  port: { burst: 10, refillMs: hour / 10 },
  listeners: { burst: 500, refillMs: hour / 500 },
  addresses: { burst: 2500, refillMs: hour / 4 / 2500 },
  changes: { burst: 1000, refillMs: 2 },
  endpoints: { burst: 20, refillMs: 200 },
}

/** The endpoints of ports that have so many are published at a pace of their own. */
const manyEndpoints = 100

/** Of Envoy's main thread such a table takes 1.8 ms at each change, and a cluster that is made anew 0.5 ms. */
const tableCost = 20
const settingsCost = 5

/** What to do now: publish this, or nothing, and whether there is more to come. */
export interface Paced {
  /** Undefined: the frontend waits for its address, and the kernel layer serves it. */
  readonly frontend: Frontend | undefined
  readonly isLater: boolean
}

export class ChangePace {
  readonly #port: Buckets
  readonly #listeners: NamespaceLimit
  readonly #addresses: NamespaceLimit
  readonly #changes: NamespaceLimit
  readonly #endpoints: NamespaceLimit

  constructor({ port, listeners, addresses, changes, endpoints }: PaceOptions = {}) {
    this.#port = new Buckets(port ?? defaults.port)
    this.#listeners = new NamespaceLimit(listeners ?? defaults.listeners)
    this.#addresses = new NamespaceLimit(addresses ?? defaults.addresses)
    this.#changes = new NamespaceLimit(changes ?? defaults.changes)
    this.#endpoints = new NamespaceLimit(endpoints ?? defaults.endpoints)
  }

  /**
   * @param frontend as its owner has it now
   * @param published as last published to Envoy, where it was
   */
  pace(frontend: Frontend, published: Frontend | undefined): Paced {
    const { id, namespace } = frontend
    if (!published) {
      const isNow = this.#addresses.has(namespace) && this.#takesEndpoints(frontend) && this.#addresses.take(namespace)
      return { frontend: isNow ? frontend : undefined, isLater: !isNow }
    }
    const isElsewhere = !areReachedAlike(published, { ...frontend, settings: published.settings })
    if (!isElsewhere && hasSameListeners(published, frontend)) return this.#paceChange(frontend, published)
    const limit = isElsewhere ? this.#addresses : this.#listeners
    if (this.#port.has(id) && limit.take(namespace)) {
      this.#port.take(id)
      return { frontend, isLater: false }
    }
    if (isElsewhere) return { frontend: undefined, isLater: true }
    return {
      frontend: { ...frontend, settings: { ...frontend.settings, ...listenerSettings(published.settings) } },
      isLater: true,
    }
  }

  #paceChange(frontend: Frontend, published: Frontend): Paced {
    const { endpoints, spillOver, settings } = published
    const hasSameEndpoints = frontend.endpoints === endpoints && frontend.spillOver === spillOver
    if (hasSameEndpoints && frontend.settings === settings) return { frontend, isLater: false }
    const cost = costOf(frontend, published)
    const isNow =
      this.#changes.has(frontend.namespace, cost) &&
      (hasSameEndpoints || this.#takesEndpoints(frontend)) &&
      this.#changes.take(frontend.namespace, cost)
    if (isNow) return { frontend, isLater: false }
    const kept = stillAdmitted(endpoints, frontend)
    // Some of those to which it spills over may be barred by now; it does without until they are published.
    const spill = frontend.spillOver === spillOver ? spillOver : undefined
    return { frontend: { ...frontend, endpoints: kept, spillOver: spill, settings }, isLater: true }
  }

  #takesEndpoints(frontend: Frontend): boolean {
    const { length } = envoyEndpointsOf(frontend)
    return length < manyEndpoints || this.#endpoints.take(frontend.namespace, Math.ceil(length / 1000))
  }
}

function costOf({ settings }: Frontend, published: Frontend): number {
  if (settings.lbPolicy === 'MAGLEV') return tableCost
  return settings === published.settings ? 1 : settingsCost
}

/** Leaves out what Envoy may not connect to any more, which does not wait. */
function stillAdmitted(published: Frontend['endpoints'], { endpoints, isCut }: Frontend): Frontend['endpoints'] {
  if (!isCut) return published
  const names = new Set(endpoints.map(({ ip, port }) => hostPort(ip, port)))
  return published.filter(({ ip, port }) => names.has(hostPort(ip, port)))
}

function hasSameListeners(a: Frontend, b: Frontend): boolean {
  if (hasOwnListeners(a) !== hasOwnListeners(b)) return false
  const [ofA, ofB] = [a, b].map(({ settings }) => listenerSettings(settings))
  return !hasOwnListeners(a) || isDeepStrictEqual(ofA, ofB)
}
