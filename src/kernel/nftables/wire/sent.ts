/** Records what was sent of a batch, to name what of it the kernel refused. */

import { type ElementName, elementName, setCode } from '../elements/elements.ts'
import { parseObjectName } from '../elements/ownobjects.ts'
import { keyText, typesOf } from '../elements/values.ts'
import type { SetElement, Table } from '../operations.ts'
import type { SetDefinition } from '../sets.ts'

/** The kernel refused a batch, and did nothing of it. */
export class BatchRefused extends Error {
  /** errno's name of the first. */
  readonly code: string
  /** Elements that it is about; empty where it is about something else. */
  readonly names: readonly ElementName[]
  /** Each of the names is refused; else some are, and the kernel does not say which (before Linux 5.19). */
  readonly isExact: boolean

  constructor(message: string, code: string, names: readonly ElementName[], isExact = true) {
    super(message)
    this.name = 'BatchRefused'
    this.code = code
    this.names = names
    this.isExact = isExact
  }
}

/** A message that was written, by which an answer is matched to what it is about. */
export interface Sent {
  readonly sequence: number
  /** In words. */
  readonly what: string
  /** The element that its chain or set is; undefined for those of the fixed part. */
  readonly name: ElementName | undefined
  /** The elements in it; undefined where it is about something else. */
  readonly elements: SentElements | undefined
}

export interface SentElements {
  readonly table: Table
  readonly set: SetDefinition
  readonly items: readonly SetElement[]
  /** Where in the message each begins, and where the last one ends. */
  readonly places: readonly number[]
}

export interface Batch {
  readonly beginning: number
  readonly messages: readonly Sent[]
}

/** Names the element that a chain or set is; undefined for those of the fixed part. */
export function nameOf({ family }: Table, object: string): ElementName | undefined {
  const own = parseObjectName(family, object)
  return own && elementName(family, own.set, own.key)
}

/** Names elements of a set; undefined where the set is none of ours. */
export function namesOf({ table: { family }, set, items }: SentElements): readonly (ElementName | undefined)[] {
  const ranges = parseObjectName(family, set.name)
  const prefix = ranges ? elementName(family, 'source-ranges', ranges.key) : setCode(family, set.name)
  return items.map(({ key }) => prefix && prefix + key)
}

export function textOf({ table: { family }, set, items }: SentElements, index: number): string {
  return `${family} ${set.name} ${keyText(typesOf(family, set), items[index]!.key)}`
}
