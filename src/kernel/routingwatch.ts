/**
 * What the kernel tells of routing rules and routes: who takes ours away (systemd-networkd at its start, `netplan apply`,
 * `ip rule flush`) is noticed at once, and so is a rule of somebody else that comes or goes.
 */

import type { Family } from './elements.ts'
import { subscribe } from './netlink/notifications.ts'
import { type Message, readAttributes } from './netlink/reader.ts'

/** RTM_… and RTNLGRP_… of linux/rtnetlink.h, and the families of linux/socket.h. */
const types = { newLink: 16, delRoute: 25, newRule: 32, delRule: 33 } as const
const groups = { link: 1, ipv4Route: 7, ipv4Rule: 8, ipv6Route: 11, ipv6Rule: 19 } as const
const families: ReadonlyMap<number, Family> = new Map([
  [2, 'ip'],
  [10, 'ip6'],
])
/** Of `struct fib_rule_hdr` and of `struct rtmsg`, which both have the family first and the table as attribute 15. */
const headerLength = 12
const tableAttribute = 15
const loopback = 1

export interface RoutingEvents {
  /** A rule or route of our table went, or may have. */
  readonly onLoss: (family: Family) => void
  /** A rule of somebody else came or went, or may have. */
  readonly onForeignRule: (family: Family) => void
}

/** Begins at once; returns what ends it. Throws SystemCallError, and LibcMissing. @param netns another network namespace */
export function watchRouting(routeTable: number, events: RoutingEvents, netns?: string): () => void {
  const all = (tell: (family: Family) => void) => {
    for (const family of families.values()) tell(family)
  }
  return subscribe({
    protocol: 'route',
    groups: Object.values(groups),
    netns,
    onMessage: message => {
      // With lo down its routes are gone, and nobody says so of each.
      if (message.type === types.newLink && message.body.readInt32LE(4) === loopback) return all(events.onLoss)
      const change = readChange(message)
      if (!change) return
      const { family, table } = change
      if (table !== routeTable) {
        if (message.type !== types.delRoute) events.onForeignRule(family)
      } else if (message.type !== types.newRule) events.onLoss(family)
    },
    onLost: () => {
      all(events.onLoss)
      all(events.onForeignRule)
    },
  })
}

/** Of a rule that came or went, or a route that went; undefined for all else. */
function readChange({ type, body }: Message): { readonly family: Family; readonly table: number } | undefined {
  if (type !== types.newRule && type !== types.delRule && type !== types.delRoute) return undefined
  const family = families.get(body.readUInt8(0))
  const table = readAttributes(body, headerLength).get(tableAttribute)
  return family && { family, table: table ? table.readUInt32LE(0) : body.readUInt8(4) }
}
