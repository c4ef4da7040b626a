/** Our elements in words, for people: `ip services 10.0.0.1 . tcp . 80`, and `goto refuse`. */

import type { Bytes } from '../bytes.ts'
import { fixedSet } from '../sets.ts'
import { affinityText } from './affinity.ts'
import { type ElementName, partsOf } from './elements.ts'
import { isOwnSet, ownKeyText } from './ownobjects.ts'
import { keyText, typesOf, valueText } from './values.ts'

export function elementText(name: ElementName): string {
  const { family, set } = partsOf(name)
  return `${family} ${set} ${elementKeyText(name)}`
}

/** Prints the key without family and set. */
function elementKeyText(name: ElementName): string {
  const { family, set, key } = partsOf(name)
  return isOwnSet(set) ? ownKeyText(family, set, key) : keyText(typesOf(family, fixedSet(set)), key)
}

export function elementValueText(name: ElementName, value: Bytes): string {
  const { family, set } = partsOf(name)
  if (set === 'affinity' || set === 'sources') return affinityText(family, value)
  return isOwnSet(set) ? '' : valueText(typesOf(family, fixedSet(set)), value)
}

/** Prints the element without its family: `services 10.0.0.1 . tcp . 80 : goto refuse`. */
export function elementLine(name: ElementName, value: Bytes): string {
  const [key, text] = [`${partsOf(name).set} ${elementKeyText(name)}`, elementValueText(name, value)]
  return text === '' ? key : `${key} : ${text}`
}
