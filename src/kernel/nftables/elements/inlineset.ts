import type { Bytes } from '../bytes.ts'
import type { InlineSet } from '../clauses/clause.ts'
import type { FoundElements } from '../wire/elements.ts'
import type { Part } from '../wire/types.ts'
import { keyParts, type SetTypes } from './values.ts'

/** Makes a set that is a part of a rule, with numbers in their order. */
export function inlineSet(types: SetTypes, { elements }: FoundElements): InlineSet {
  const first = (key: Bytes) => keyParts(types, key)[0]
  const compare = (a: Part | undefined, b: Part | undefined) => (typeof a === 'number' ? a - Number(b) : 0)
  return { types, elements: elements.toSorted(([a], [b]) => compare(first(a), first(b))) }
}
