/** Reading raw JSON values of which nothing is known, and sharing what many objects have in common. */

import { Sharing } from './sharing.ts'

export type Raw = Readonly<Record<string, unknown>>

/** The value as an object; an empty one where it is none, so that reading on finds nothing. */
export function rawObject(value: unknown): Raw {
  return isRawObject(value) ? value : {}
}

export function isRawObject(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function rawList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The value as a text; an empty one where it is none. Some objects cannot even be made one: `{"toString": 1}`. */
export function rawText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Kubernetes treats null as a field that is not there. */
export function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null
}

const longestShown = 80

/** A raw value as a message shows it: short, on one line, and whatever its depth. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > longestShown ? `${text.slice(0, longestShown)}…` : text
}

/** What is wrong with a field, such as `spec.ports[0].port "80" is no port`, or that it is missing. */
export function isNo(what: string, field: string, value: unknown): string {
  return isAbsent(value) ? `${field} is missing` : `${field} ${show(value)} is no ${what}`
}

const mostShared = 4_000_000
const sharedTexts = new Sharing<string>(mostShared)
const sharedObjects = new Sharing<object>(mostShared)

/** The same string for equal strings: zones, nodes and names that thousands of endpoints repeat are held once. */
export function sharedText(text: string): string {
  return sharedTexts.share(text, text)
}

/** A list that grew holds room for sixteen more; a copy has its own length. */
export function trimmedList<T>(list: readonly T[]): readonly T[] {
  return list.slice()
}

/** The same list for lists of equal plain content: most Services and slices have one of a few lists of ports. */
export function sharedList<T>(list: readonly T[]): readonly T[] {
  return sharedObject(list)
}

/** The same for records of equal texts: the pods of a workload have the same labels. */
export function sharedRecord(record: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return sharedObject(record)
}

/** The same object for objects of equal plain content. */
export function sharedObject<T extends object>(value: T): T {
  return sharedObjects.share(JSON.stringify(value), value) as T
}
