/**
 * A connection whose answers would not come back through this node gets the node's address as its source. It is marked
 * where it is translated, and masqueraded where it leaves:
 *
 * - what comes from outside to a port whose endpoints may be on other nodes (externalTrafficPolicy Cluster);
 * - what comes to a VIP and not from a pod, as far as pods can be told (`--detect-local-mode`), or any (`--masquerade-all`);
 * - an endpoint that is its own client (the set `hairpin`).
 *
 * The rules are those of kube-proxy's nftables mode.
 */

import type { Family, SetName } from './elements.ts'
import type { Chain } from './ruleset.ts'

export const detectLocalModes = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'] as const
export type DetectLocalMode = (typeof detectLocalModes)[number]

export interface MasqueradeOptions {
  /** The packet mark bit of new connections whose source address is to become the node's. */
  readonly masqueradeMark: number
  readonly masqueradeAll: boolean
  /** How pods of this node are told from others. By a CIDR that is not given or not known: not at all. */
  readonly detectLocalMode: DetectLocalMode
  readonly podBridgeInterface: string | undefined
  readonly podInterfaceNamePrefix: string | undefined
}

/** Matches what pods send, as far as they can be told. */
export function ofPods(family: Family, options: MasqueradeOptions): string {
  const name = interfacePattern(options)
  return name === undefined ? `${family} saddr @${'pods' satisfies SetName}` : `iifname ${name}`
}

/** Matches what others send; nothing where pods cannot be told. */
export function notOfPods(family: Family, options: MasqueradeOptions): string {
  const name = interfacePattern(options)
  return name === undefined ? `${family} saddr @${'outside' satisfies SetName}` : `iifname != ${name}`
}

function interfacePattern(options: MasqueradeOptions): string | undefined {
  switch (options.detectLocalMode) {
    case 'BridgeInterface':
      return `"${options.podBridgeInterface}"`
    case 'InterfaceNamePrefix':
      return `"${options.podInterfaceNamePrefix}*"`
    default:
      return undefined
  }
}

export function markRule({ masqueradeMark }: MasqueradeOptions): string {
  return `meta mark set meta mark | ${hex(masqueradeMark)}`
}

/**
 * The rules of a VIP: what is to be masqueraded is marked before `translate` is looked up, and unmarked where that was
 * no VIP. That costs no look-up of its own.
 */
export function masqueradingVips(family: Family, options: MasqueradeOptions, translate: string): readonly string[] {
  const condition = options.masqueradeAll ? '' : `${notOfPods(family, options)} `
  return [`${condition}${markRule(options)}`, translate, `${condition}${unmark(options)}`]
}

/** Takes the mark off, since a packet that is put into a tunnel takes its mark along. */
export function masqueradeChain(options: MasqueradeOptions): Chain {
  const mark = hex(options.masqueradeMark)
  return {
    name: 'masquerade-marked',
    hook: 'type nat hook postrouting priority srcnat',
    rules: [`meta mark & ${mark} == ${mark} ${unmark(options)} masquerade fully-random`],
  }
}

function unmark({ masqueradeMark }: MasqueradeOptions): string {
  return `meta mark set meta mark & ${hex((~masqueradeMark & 0xffffffff) >>> 0)}`
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`
}
