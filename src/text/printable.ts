/**
 * Text of users' objects, made harmless for terminals, logs and Events. A terminal acts on control characters (ESC begins a
 * command), a reader is misled by what reorders or hides text (bidirectional overrides, zero-width characters), and a line
 * break forges a line.
 */

/** Control and format characters, line and paragraph separators, halves of surrogate pairs. */
const harmful = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const harmfulInJson = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Harmful characters as `\n` or `\u001b`; all else, also text that is escaped already, stays as it is. */
export function printable(text: string): string {
  return text.replace(harmful, character => short[character] ?? escaped(character))
}

/** A JSON text that means the same and has no harmful characters but its own line breaks. */
export function printableJson(json: string): string {
  return json.replace(harmfulInJson, escaped)
}

/** The same value with every text in it printable, names of members as well. */
export function printableAll<T>(value: T): T
export function printableAll(value: unknown): unknown {
  if (typeof value === 'string') return printable(value)
  if (Array.isArray(value)) return value.map(printableAll)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [printable(name), printableAll(member)]))
}

/** At most so many characters, and how many there were beyond. */
export function clipped(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}… (${text.length - most} more characters)`
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
  return units.map(unit => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
}
