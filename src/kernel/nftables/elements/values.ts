/** Elements of any set, part by part, and in words for people. */

import type { Family } from '../../family.ts'
import { type Bytes, rangeText, verdictOf } from '../bytes.ts'
import { verdictText } from '../clauses/words.ts'
import type { SetDefinition } from '../sets.ts'
import { type DataType, type Part, partsOf, typeOf, wordsOf } from '../wire/types.ts'

/** The types of a set as the kernel has it; `data` undefined for sets, and for values that are no plain data. */
export interface SetTypes {
  readonly key: readonly DataType[]
  readonly data: readonly DataType[] | 'verdict' | undefined
  readonly isInterval: boolean
}

export function typesOf(family: Family, { key, data, isInterval = false }: SetDefinition): SetTypes {
  const types = (some: readonly Parameters<typeof typeOf>[1][]) => some.map(type => typeOf(family, type))
  return { key: types(key), data: data === undefined || data === 'verdict' ? data : types(data), isInterval }
}

/** `10.0.0.1`, 6, 80; of addresses in an interval the range, as `10.0.0.0/8`; of other intervals where they begin. */
export function keyParts(types: SetTypes, key: Bytes): readonly Part[] {
  return isAddressRange(types, key) ? [rangeText(key)] : partsOf(types.key, key)
}

function isAddressRange({ key: [type, ...more], isInterval }: SetTypes, key: Bytes): boolean {
  return isInterval && more.length === 0 && type?.isAddress === true && key.length === 2 * type.length
}

/** `10.0.0.1 . tcp . 80`, `10.0.0.0/8` */
export function keyText(setTypes: SetTypes, key: Bytes): string {
  const { key: types, isInterval } = setTypes
  if (!isInterval) return wordsOf(types, key).join(' . ')
  if (isAddressRange(setTypes, key)) return rangeText(key)
  const ends = [key.slice(0, key.length / 2), key.slice(key.length / 2)]
  return ends.map(end => wordsOf(types, end).join(' . ')).join('-')
}

/** `10.1.0.1 . 8080`, `goto refuse`; '' where there is none. */
export function valueText({ data }: SetTypes, value: Bytes): string {
  if (value === '' || data === undefined) return ''
  return data === 'verdict' ? verdictText(verdictOf(value)) : wordsOf(data, value).join(' . ')
}

/** `10.0.0.1 . tcp . 80 : goto refuse` */
export function keyValueText(types: SetTypes, key: Bytes, value: Bytes): string {
  const text = valueText(types, value)
  return text === '' ? keyText(types, key) : `${keyText(types, key)} : ${text}`
}
