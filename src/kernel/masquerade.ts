/**
 * A connection whose answers would not come back through this node gets the node's address as its source. It is marked
 * where it is translated, and masqueraded where it leaves.
 */

import type { Chain, RulesetOptions } from './ruleset.ts'

export function markMasqueradeRule({ masqueradeMark }: RulesetOptions): string {
  return `meta mark set meta mark | 0x${masqueradeMark.toString(16)}`
}

/** Takes the mark off, since a packet that is put into a tunnel takes its mark along. */
export function masqueradeChain({ masqueradeMark }: RulesetOptions): Chain {
  const mark = `0x${masqueradeMark.toString(16)}`
  return {
    name: 'masquerade-marked',
    hook: 'type nat hook postrouting priority srcnat',
    rules: [`meta mark & ${mark} == ${mark} meta mark set meta mark ^ ${mark} masquerade fully-random`],
  }
}
