/** One batch of changes, for any number of Service ports. */

import type { Family } from '../family.ts'
import { overlaySetNames } from './chains.ts'
import { type OldChain, type PortChain, type PortRules, renderChains } from './ports.ts'

export interface Batch {
  readonly added: ReadonlyMap<Family, readonly PortChain[]>
  readonly removed: ReadonlyMap<Family, readonly OldChain[]>
  readonly newMembers: readonly string[]
  readonly oldMembers: readonly string[]
}

/** Counts how many ports need each member of the sets: an endpoint of two Services is one member of `hairpin`. */
export class Members {
  readonly #counts = new Map<string, number>()

  has(member: string): boolean {
    return this.#counts.has(member)
  }

  /** Returns whether it is new. */
  add(member: string): boolean {
    const count = this.#counts.get(member) ?? 0
    this.#counts.set(member, count + 1)
    return count === 0
  }

  /** Returns whether nobody needs it any more. */
  remove(member: string): boolean {
    const count = this.#counts.get(member) ?? 0
    if (count > 1) this.#counts.set(member, count - 1)
    else this.#counts.delete(member)
    return count === 1
  }

  /** Forgets members that are in no set any more. */
  forget(isGone: (member: string) => boolean): void {
    for (const member of this.#counts.keys()) if (isGone(member)) this.#counts.delete(member)
  }

  /** The number of members by set. */
  get totals(): ReadonlyMap<string, number> {
    const totals = new Map<string, number>()
    for (const member of this.#counts.keys()) {
      const set = member.split(' ', 1)[0]!
      totals.set(set, (totals.get(set) ?? 0) + 1)
    }
    return totals
  }
}

/** Computes the batch that takes each port from the rules it has to those it shall have. Counts the members. */
export function batchOf(
  changes: readonly { readonly before: PortRules | undefined; readonly after: PortRules | undefined }[],
  members: Members,
): Batch {
  const added = new Map<Family, PortChain[]>()
  const removed = new Map<Family, PortChain[]>()
  const newMembers = new Set<string>()
  const oldMembers: string[] = []
  for (const { after } of changes)
    for (const member of after?.members ?? []) if (members.add(member)) newMembers.add(member)
  for (const { before, after } of changes) {
    for (const member of before?.members ?? []) if (members.remove(member)) oldMembers.push(member)
    if (before?.chain?.name === after?.chain?.name) continue
    if (after?.chain) listOf(added, after.family).push(after.chain)
    if (before?.chain) listOf(removed, before.family).push(before.chain)
  }
  return { added, removed, newMembers: [...newMembers], oldMembers }
}

/**
 * Renders texts for ipset, for iptables-restore of each family, and for ipset again. A port leaves the overlay before
 * it changes and enters it at the end; a port that has lost its endpoints is refused before its chain goes. Pods that are
 * not known are kept from Envoy only while all known ones are in their set, or a packet between two members would end what
 * those have open.
 */
export function renderBatch({ added, removed, newMembers, oldMembers }: Batch, families: readonly Family[]) {
  const add = (members: readonly string[]) => members.map(member => `add ${member}\n`).join('')
  const remove = (members: readonly string[]) => members.map(member => `del ${member}\n`).join('')
  const isElse = (member: string) => !isOfOverlay(member)
  const isStrict = (member: string) => member.startsWith('lightpath-strict')
  const newOthers = Map.groupBy(newMembers.filter(isElse), isStrict)
  const oldOthers = Map.groupBy(oldMembers.filter(isElse), isStrict)
  const rules = families.map(
    family => [family, renderChains(added.get(family) ?? [], removed.get(family) ?? [])] as const,
  )
  return {
    first: remove(oldMembers.filter(isOfOverlay)) + add(newOthers.get(false) ?? []) + add(newOthers.get(true) ?? []),
    rules: new Map(rules),
    last: remove(oldOthers.get(true) ?? []) + remove(oldOthers.get(false) ?? []) + add(newMembers.filter(isOfOverlay)),
  }
}

export function sizesOf({ added, removed, newMembers, oldMembers }: Batch) {
  const count = (chains: Batch['removed']) => [...chains.values()].reduce((sum, each) => sum + each.length, 0)
  return { added: newMembers.length + count(added), removed: oldMembers.length + count(removed) }
}

export function isOfOverlay(member: string): boolean {
  return overlaySetNames.some(set => member.startsWith(`lightpath-${set}`))
}

function listOf(chains: Map<Family, PortChain[]>, family: Family): PortChain[] {
  const list = chains.get(family) ?? []
  chains.set(family, list)
  return list
}
