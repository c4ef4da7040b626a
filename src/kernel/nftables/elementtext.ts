/** Elements of any set in words, for people. */

import type { Family } from '../elements.ts'
import { type Bytes, rangeText, verdictOf } from './bytes.ts'
import { verdictText } from './rules/print.ts'
import type { SetDefinition } from './sets.ts'
import { type DataType, typeOf, wordsOf } from './wire/types.ts'

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

/** `10.0.0.1 . tcp . 80`, `10.0.0.0/8` */
export function keyText({ key: types, isInterval }: SetTypes, key: Bytes): string {
  if (!isInterval) return wordsOf(types, key).join(' . ')
  const [type] = types
  if (types.length === 1 && key.length === 2 * type!.length && type!.isAddress) return rangeText(key)
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
