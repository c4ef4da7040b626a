/** Chains of single ports, read as the elements that they are to us. */

import type { Family } from '../../family.ts'
import type { Bytes } from '../bytes.ts'
import type { Clauses } from '../clauses/clause.ts'
import { readAffinity } from '../elements/affinity.ts'
import type { parseObjectName } from '../elements/ownobjects.ts'
import { readSources } from '../elements/sources.ts'

/** Returns the value of the element that a chain with these rules is. */
export function ownChainValue(
  family: Family,
  { set, key }: NonNullable<ReturnType<typeof parseObjectName>>,
  rules: readonly Clauses[],
): Bytes {
  return set === 'sources' ? readSources(family, key, rules) : readAffinity(family, key, rules)
}
