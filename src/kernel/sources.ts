/**
 * Who may come in by a load-balancer IP: `loadBalancerSourceRanges`. Each such place has a chain and a set of its own, to
 * which `source-checks` leads:
 *
 *     source-checks   192.0.2.1 . tcp . 80 → jump sources-192.0.2.1-tcp-80
 *     sources-…       not from @ranges-… → drop; else back to what called it
 *     ranges-…        the ranges
 *
 * One set of place and range for all would be one of concatenated ranges, which the kernel keeps such that a removal looks
 * at all there are: 8,000 of them took it minutes in which the core did nothing else (Linux 6.18). A set of plain ranges
 * is a tree, nobody's ranges cost anybody else, and those of a place that goes are gone with their set.
 */

import { objectName } from './affinity.ts'
import { elementName, type Family } from './elements.ts'
import { type Chain, ruleText } from './nftables/operations.ts'
import { drop, notInSet } from './nftables/rules/statement.ts'
import type { SetDefinition } from './nftables/sets.ts'

/** @param key `192.0.2.1 . tcp . 80` */
export function planSources(
  family: Family,
  key: string,
  ranges: readonly string[],
): readonly (readonly [name: string, value: string])[] {
  return [
    [elementName(family, 'source-checks', key), `jump ${objectName('sources', key)}`],
    [elementName(family, 'sources', key), ''],
    [elementName(family, 'ranges', key), ''],
    ...ranges.map(range => [elementName(family, 'source-ranges', `${key} . ${range}`), ''] as const),
  ]
}

export function sourcesChain(key: string): Chain {
  return { name: objectName('sources', key), rules: [[notInSet(['saddr'], objectName('ranges', key)), drop]] }
}

/** The value of a chain that has these rules: '' where they are its own. */
export function readSources(family: Family, key: string, rules: readonly string[]): string {
  const expected = sourcesChain(key).rules.map(rule => ruleText(family, rule))
  return String(expected) === String(rules) ? '' : rules.join('\n')
}

export function rangesSet(key: string): SetDefinition {
  return { name: objectName('ranges', key), key: ['address'], isInterval: true }
}

/** The key of an element of `source-ranges`, in its two parts. */
export function splitSourceRange(key: string): { readonly place: string; readonly range: string } {
  const at = key.lastIndexOf(' . ')
  return { place: key.slice(0, at), range: key.slice(at + 3) }
}

/** Sets of earlier versions, which had all places and ranges in one. */
export const formerSets = ['allowed-sources', 'restricted'] as const
