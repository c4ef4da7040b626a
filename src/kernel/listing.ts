/** Reads what `nft list` prints of our table, line by line, so that a table of any size costs no memory by itself. */

import { tableName } from './ruleset.ts'

export interface ListingReader {
  /** A chain and its rules (with its hook as the first, where it has one). */
  chain?(name: string, rules: readonly string[]): void
  /** A set or map, before its elements. */
  set?(name: string): void
  /** An element of a set or map, `value` '' in sets. Not of those that the kernel fills itself (`flags dynamic`). */
  element?(set: string, key: string, value: string): void
}

/** Returns the function that takes the lines in their order. Other tables are passed over. */
export function listingParser(reader: ListingReader): (line: string) => void {
  let kind: 'set' | 'map' | 'chain' | undefined
  let name = ''
  let rules: string[] = []
  let inElements = false
  let isDynamic = false
  let isOurs = false
  return line => {
    const text = line.trim()
    const table = /^table \S+ (\S+) \{$/.exec(text)
    if (table) isOurs = table[1] === tableName
    if (!isOurs) return
    const opening = /^(set|map|chain) (\S+) \{$/.exec(text)
    if (opening) {
      kind = opening[1] as 'set' | 'map' | 'chain'
      name = opening[2]!
      rules = []
      isDynamic = false
      if (kind !== 'chain') reader.set?.(name)
    } else if (text === '}') {
      if (kind === 'chain') reader.chain?.(name, rules)
      kind = undefined
    } else if (kind === 'chain') {
      rules.push(text)
    } else if (kind !== undefined && !isDynamic) {
      isDynamic = text.startsWith('flags dynamic')
      const start = text.startsWith('elements = {')
      if (!start && !inElements) return
      inElements = !text.endsWith('}')
      for (const [key, value] of parseElements(text.replace(/^elements = \{|\}$/g, ''))) {
        reader.element?.(name, key, value)
      }
    }
  }
}

/** `10.0.0.1 . tcp . 80 : goto endpoints-2, …` */
export function* parseElements(text: string): Generator<[key: string, value: string]> {
  for (const part of text.split(',')) {
    const element = part.trim()
    if (element === '') continue
    const colon = element.indexOf(' : ')
    yield colon < 0 ? [element, ''] : [element.slice(0, colon), element.slice(colon + 3)]
  }
}
