/**
 * Watches the kernel's notifications of routing rules and routes: the removal of ours (by systemd-networkd at its
 * start, `netplan apply`, `ip rule flush`) is noticed at once, and so is a rule of somebody else that comes or goes.
 */

import { type Family, familyNames } from '../../family.ts'
import { subscribe } from '../../netlink/notifications.ts'
import type { Message } from '../../netlink/reader.ts'
import { type Route, readRoute } from '../../netlink/route/routes.ts'
import { type Rule, readRule } from '../../netlink/route/rules.ts'

/** RTM_… and RTNLGRP_… of linux/rtnetlink.h. */
const types = { newLink: 16, delRoute: 25, newRule: 32, delRule: 33 } as const
const groups = { link: 1, ipv4Route: 7, ipv4Rule: 8, ipv6Route: 11, ipv6Rule: 19 } as const
const loopback = 1

export interface RoutingEvents {
  /** A rule or route of our table went, or may have. */
  readonly onLoss: (family: Family) => void
  /** A rule of somebody else came or went, or may have. */
  readonly onForeignRule: (family: Family) => void
}

/**
 * Watches from now on; returns a function that ends it. Throws SystemCallError, and LibcMissing.
 * @param netns another network namespace
 */
export function watchRouting(routeTable: number, events: RoutingEvents, netns?: string): () => void {
  const all = (tell: (family: Family) => void) => {
    for (const family of Object.values(familyNames)) tell(family)
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
      const { table } = change
      const family = familyNames[change.family]
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

/** Reads a rule that came or went, or a route that went; undefined for all else. Throws MalformedMessage. */
function readChange(message: Message): Pick<Rule | Route, 'family' | 'table'> | undefined {
  if (message.type === types.delRoute) return readRoute(message)
  return message.type === types.newRule || message.type === types.delRule ? readRule(message) : undefined
}
