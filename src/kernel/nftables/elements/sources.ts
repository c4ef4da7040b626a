/**
 * Whom a load-balancer IP admits: `loadBalancerSourceRanges`. Each such frontend has a chain and a set of its own, to
 * which `source-checks` leads:
 *
 *     source-checks   192.0.2.1 . tcp . 80 → jump sources-192.0.2.1-tcp-80
 *     sources-…       not from @ranges-… → drop; else back to what called it
 *     ranges-…        the ranges
 *
 * One set of address and range for all would be one of concatenated ranges, where a removal walks all elements: 8,000
 * of them took it minutes in which the core did nothing else (Linux 6.18). A set of plain ranges is a tree, nobody's
 * ranges cost anybody else, and those of a frontend that goes are gone with their set.
 */

import { isDeepStrictEqual } from 'node:util'
import type { Family } from '../../family.ts'
import { type Bytes, jumpBytes } from '../bytes.ts'
import type { Clauses } from '../clauses/clause.ts'
import { type Chain, ruleClauses } from '../operations.ts'
import { drop, notInSet } from '../rules/statement.ts'
import type { SetDefinition } from '../sets.ts'
import { unknownRules } from './affinity.ts'
import { type ElementName, elementName } from './elements.ts'
import { objectName } from './ownobjects.ts'

/** @param key of the frontend. @param ranges as `rangeBytes` has them */
export function planSources(
  family: Family,
  key: Bytes,
  ranges: readonly Bytes[],
): readonly (readonly [name: ElementName, value: Bytes])[] {
  return [
    [elementName(family, 'source-checks', key), jumpBytes(objectName(family, 'sources', key))],
    [elementName(family, 'sources', key), ''],
    [elementName(family, 'ranges', key), ''],
    ...ranges.map(range => [elementName(family, 'source-ranges', key + range), ''] as const),
  ]
}

export function sourcesChain(family: Family, key: Bytes): Chain {
  const ranges = objectName(family, 'ranges', key)
  return { name: objectName(family, 'sources', key), rules: [[notInSet(['saddr'], ranges), drop]] }
}

/** Reads the value of a chain that has these rules: '' where they are its own. */
export function readSources(family: Family, key: Bytes, rules: readonly Clauses[]): Bytes {
  const expected = sourcesChain(family, key).rules.map(rule => ruleClauses(family, rule))
  return isDeepStrictEqual(rules, expected) ? '' : unknownRules(family, rules)
}

export function rangesSet(family: Family, key: Bytes): SetDefinition {
  return { name: objectName(family, 'ranges', key), key: ['address'], isInterval: true }
}

/** Sets of earlier versions, which had the ranges of all frontends in one. */
export const formerSets = ['allowed-sources', 'restricted'] as const
