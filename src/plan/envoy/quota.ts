/**
 * Decides how much of Envoy a Service gets, in addresses: a port's VIP and each external address that leads to Envoy.
 * Each costs Envoy memory and time to load, which all Services of a node share, so a Service and a
 * namespace have so many and no more. Older Services come first, so that a new one takes nothing from those that work.
 */

export interface EnvoyLimits {
  readonly ofService: number
  readonly ofNamespace: number
}

/** Of 100 kB each: an eighth of Envoy's heap for a namespace. */
export const defaultEnvoyLimits: EnvoyLimits = { ofService: 100, ofNamespace: 2500 }

interface Member {
  readonly key: string
  readonly created: number
  readonly wants: number
  share: number
}

interface Members {
  /** In the order in which they get their share. */
  readonly inOrder: Member[]
  /** Within the limit of each Service. */
  wanted: number
}

export class EnvoyQuota {
  readonly #limits: EnvoyLimits
  readonly #byKey = new Map<string, Member>()
  readonly #byNamespace = new Map<string, Members>()

  constructor(limits: EnvoyLimits) {
    this.#limits = limits
  }

  /** Returns how many addresses the Service has in Envoy. */
  shareOf(key: string): number {
    return this.#byKey.get(key)?.share ?? 0
  }

  /**
   * @param key `namespace/name`
   * @returns the Services whose share changes with that
   */
  set(key: string, wants: number, created: number): readonly string[] {
    const before = this.#byKey.get(key)
    if ((before?.wants ?? 0) === wants && (before?.created ?? created) === created) return []
    const members = this.#membersOf(key)
    const { ofNamespace } = this.#limits
    const wasOver = members.wanted > ofNamespace
    if (before) this.#leave(before, members)
    if (wants > 0) this.#join({ key, created, wants, share: this.#capped(wants) }, members)
    if (members.inOrder.length === 0) this.#byNamespace.delete(namespaceOf(key))
    return wasOver || members.wanted > ofNamespace ? this.#share(members) : []
  }

  #capped(wants: number): number {
    return Math.min(wants, this.#limits.ofService)
  }

  #join(member: Member, members: Members): void {
    members.inOrder.splice(positionOf(member, members.inOrder), 0, member)
    members.wanted += this.#capped(member.wants)
    this.#byKey.set(member.key, member)
  }

  #leave(member: Member, members: Members): void {
    members.inOrder.splice(positionOf(member, members.inOrder), 1)
    members.wanted -= this.#capped(member.wants)
    this.#byKey.delete(member.key)
  }

  #share({ inOrder }: Members): readonly string[] {
    const changed: string[] = []
    let left = this.#limits.ofNamespace
    for (const member of inOrder) {
      const share = Math.min(this.#capped(member.wants), left)
      left -= share
      if (share !== member.share) changed.push(member.key)
      member.share = share
    }
    return changed
  }

  #membersOf(key: string): Members {
    const namespace = namespaceOf(key)
    let members = this.#byNamespace.get(namespace)
    if (!members) {
      members = { inOrder: [], wanted: 0 }
      this.#byNamespace.set(namespace, members)
    }
    return members
  }
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'))
}

/** Returns the index where it is, or is to be. */
function positionOf({ created, key }: Member, inOrder: readonly Member[]): number {
  let [low, high] = [0, inOrder.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const other = inOrder[middle]!
    if (other.created < created || (other.created === created && other.key < key)) low = middle + 1
    else high = middle
  }
  return low
}
