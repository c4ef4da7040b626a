/** Splits a YAML text into documents as kubectl does: by lines that begin with `---`. A broken document ends there. */

export interface YamlDocument {
  readonly text: string
  /** Its first line in the whole text, from 1. */
  readonly line: number
  /** Lines before its content: its marker, comments, directives. */
  readonly leading: number
  /** Top-level fields, as far as they show without reading the document. */
  readonly apiVersion: string | undefined
  readonly kind: string | undefined
}

const marker = /^(?=---(?:\s|$))/m
const leading = /(?:(?:---)?[ \t]*(?:#[^\n]*)?\r?\n|%[^\n]*\n)*/y
/** Directives belong to the document whose marker follows them. */
const directivesOnly = /^(?:[ \t]*(?:#[^\n]*)?\r?\n)*%(?:[^\n]*\n)*$/

export function* documentsOf(text: string): Generator<YamlDocument> {
  let line = 1
  let directives = ''
  for (const part of text.split(marker)) {
    const whole = directives + part
    directives = directivesOnly.test(whole) ? whole : ''
    if (directives !== '') continue
    leading.lastIndex = 0
    const [before] = leading.exec(whole)!
    const [apiVersion, kind] = [topLevel(whole, 'apiVersion'), topLevel(whole, 'kind')]
    yield { text: whole, line, leading: lineBreaks(before), apiVersion, kind }
    line += lineBreaks(whole)
  }
}

const fields = { apiVersion: fieldLine('apiVersion'), kind: fieldLine('kind') }

function fieldLine(name: string): RegExp {
  return new RegExp(`^${name}:[ \\t]+(["']?)([\\w./-]+)\\1[ \\t]*\\r?$`, 'gm')
}

/** Undefined where there is not exactly one line like that: then only reading the document shows it. */
function topLevel(text: string, name: keyof typeof fields): string | undefined {
  const [first, second] = text.matchAll(fields[name])
  return second ? undefined : first?.[2]
}

function lineBreaks(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++
  return count
}
