/** Reading raw JSON values of which nothing is known, and sharing what many objects have in common. */

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

/** How many different values are kept for sharing; beyond that the tables start afresh, which costs memory only. */
const mostShared = 20_000
/** What is longer is not shared: few have the same, and the tables would hold on to it when it is gone. */
const longestShared = 2048

const sharedTexts = new Map<string, string>()
const sharedContents = new Map<string, object>()

/** The same string for equal strings: zones, nodes and names that thousands of endpoints repeat are held once. */
export function sharedText(text: string): string {
  if (text.length > longestShared) return text
  const shared = sharedTexts.get(text)
  if (shared !== undefined) return shared
  if (sharedTexts.size >= mostShared) sharedTexts.clear()
  sharedTexts.set(text, text)
  return text
}

/** A list that grew holds room for sixteen more; a copy has its own length. */
export function trimmedList<T>(list: readonly T[]): readonly T[] {
  return list.slice()
}

/** The same list for lists of equal plain content: most Services and slices have one of a few lists of ports. */
export function sharedList<T>(list: readonly T[]): readonly T[] {
  return sharedContent(list)
}

/** The same for records of equal texts: the pods of a workload have the same labels. */
export function sharedRecord(record: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return sharedContent(record)
}

function sharedContent<T extends object>(value: T): T {
  const content = JSON.stringify(value)
  const shared = sharedContents.get(content)
  if (shared) return shared as T
  if (sharedContents.size >= mostShared) sharedContents.clear()
  sharedContents.set(content, value)
  return value
}
