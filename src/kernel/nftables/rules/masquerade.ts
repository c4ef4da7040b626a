/**
 * A connection whose answers would not come back through this node gets the node's address as its source. It is marked
 * where it is translated, and masqueraded where it leaves:
 *
 * - what comes from outside to a port whose endpoints may be on other nodes (externalTrafficPolicy Cluster);
 * - what comes to a VIP and not from a pod, as far as pods can be told (`--detect-local-mode`), or any
 *   (`--masquerade-all`);
 * - an endpoint that is its own client (the set `hairpin`).
 *
 * The rules are those of kube-proxy's nftables mode.
 */

import type { MasqueradeOptions } from '../../options.ts'
import type { SetName } from '../elements/elements.ts'
import type { Chain } from '../operations.ts'
import { clearMark, hasMark, inSet, masquerade, type Rule, type Statement, setMark } from './statement.ts'

/** Matches what pods send, as far as pods can be told from others. */
export function ofPods(options: MasqueradeOptions): Statement {
  const name = interfacePattern(options)
  if (name === undefined) return inSet(['saddr'], 'pods' satisfies SetName)
  return { kind: 'interface', of: 'iifname', name, isNot: false }
}

/** Matches what others send; nothing where pods cannot be told from others. */
export function notOfPods(options: MasqueradeOptions): Statement {
  const name = interfacePattern(options)
  if (name === undefined) return inSet(['saddr'], 'outside' satisfies SetName)
  return { kind: 'interface', of: 'iifname', name, isNot: true }
}

function interfacePattern(options: MasqueradeOptions): string | undefined {
  switch (options.detectLocalMode) {
    case 'BridgeInterface':
      return options.podBridgeInterface
    case 'InterfaceNamePrefix':
      return `${options.podInterfaceNamePrefix}*`
    default:
      return undefined
  }
}

export function markForMasquerade({ masqueradeMark }: MasqueradeOptions): Statement {
  return setMark('meta', masqueradeMark)
}

/**
 * Makes the rules of a VIP: they mark what is to be masqueraded before `translate` is looked up, and unmark it where
 * that was no VIP. That costs no look-up of its own.
 */
export function masqueradingVips(options: MasqueradeOptions, translate: Statement): readonly Rule[] {
  const condition = options.masqueradeAll ? [] : [notOfPods(options)]
  return [[...condition, markForMasquerade(options)], [translate], [...condition, unmark(options)]]
}

/** Takes the mark off, since a packet that is put into a tunnel takes its mark along. */
export function masqueradeChain(options: MasqueradeOptions): Chain {
  return {
    name: 'masquerade-marked',
    hook: { type: 'nat', hook: 'postrouting', priority: 100 },
    rules: [[hasMark('meta', options.masqueradeMark), unmark(options), masquerade]],
  }
}

function unmark({ masqueradeMark }: MasqueradeOptions): Statement {
  return clearMark('meta', masqueradeMark)
}
