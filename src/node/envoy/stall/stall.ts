/**
 * Tells by its connections whether an Envoy hangs, or only has little CPU time: one that gets any time at all accepts,
 * reads or writes something, since there is something for it to read.
 *
 * Two Envoys are told apart by their cgroups. Where these are of version 1 they count as one, so that as long as one
 * of them goes on neither hangs.
 */

import type { TcpProgress } from '../../../kernel/netlink/progress.ts'

export type Connection = Pick<TcpProgress, 'cookie' | 'inode' | 'unread' | 'read' | 'written' | 'cgroup'>

export class Stall {
  #before: ReadonlyMap<bigint, Connection> = new Map()
  /** By cgroup: how many looks in a row found no progress since the look before. */
  #looks: ReadonlyMap<bigint, number> = new Map()

  /** Takes the open connections of all Envoys, and returns how many looks in a row each cgroup's have stood still. */
  look(connections: readonly Connection[]): ReadonlyMap<bigint, number> {
    const groups = Map.groupBy(connections, ({ cgroup }) => cgroup)
    const looks = [...groups].map(([cgroup, its]) => {
      const isStill = its.some(one => this.#isWaiting(one)) && !its.some(one => this.#hasMoved(one))
      return [cgroup, isStill ? (this.#looks.get(cgroup) ?? 0) + 1 : 0] as const
    })
    this.#before = new Map(connections.map(one => [one.cookie, one]))
    this.#looks = new Map(looks)
    return this.#looks
  }

  /** Whether there has been something to read since the look before. */
  #isWaiting({ cookie, unread }: Connection): boolean {
    return unread > 0 && (this.#before.get(cookie)?.unread ?? 0) > 0
  }

  /** A connection that is new, or whose peer ended it, is the kernel's doing. One that Envoy accepts gets an inode. */
  #hasMoved({ cookie, inode, read, written }: Connection): boolean {
    const before = this.#before.get(cookie)
    if (!before) return false
    return inode !== before.inode || read > before.read || written > before.written
  }
}
