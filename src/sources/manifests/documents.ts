/** The text of a manifest, YAML or JSON, with one or more documents, to the items in it. What is wrong is told without quoting. */

import type { Document, ParsedNode } from 'yaml'
import { listItems } from '../../services/parse.ts'

/** What should be an object of Kubernetes: a document, or an item of one that is a list. */
export interface Item {
  readonly value: unknown
  /** The file with the line where the document begins. */
  readonly origin: string
}

/** The text is no YAML or JSON. */
export class BrokenText extends Error {
  readonly origin: string

  constructor(origin: string, reason: string) {
    super(reason)
    this.origin = origin
  }
}

const byteOrderMark = /^\uFEFF/

/**
 * @param file the name that origins use; `.json` at its end makes it JSON
 * @throws BrokenText
 */
export async function* itemsOf(file: string, text: string): AsyncGenerator<Item> {
  const documents = file.endsWith('.json') ? jsonDocuments(file, text) : yamlDocuments(file, text)
  for await (const { value, origin } of documents) {
    for (const item of listItems(value)) yield { value: item, origin }
  }
}

function* jsonDocuments(file: string, text: string): Generator<Item> {
  const json = text.replace(byteOrderMark, '')
  if (json.trim() === '') return
  try {
    yield { value: JSON.parse(json), origin: file }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new BrokenText(placeOf(error, file, json), 'it is no JSON')
  }
}

/** As exactly as the error says. */
function placeOf({ message }: SyntaxError, file: string, json: string): string {
  const position = /at position (\d+)/.exec(message)?.[1]
  const end = position === undefined ? json.trimEnd().length : Number(position)
  const isKnown = position !== undefined || message.includes('end of JSON')
  return isKnown ? `${file}:${json.slice(0, end).split('\n').length}` : file
}

/** Document by document, so that only one is in memory as the library's syntax tree, many times the size of its text. */
async function* yamlDocuments(file: string, text: string): AsyncGenerator<Item> {
  const { Composer, LineCounter, Parser } = await import('yaml')
  const lines = new LineCounter()
  // The library compares each key of a mapping with all others.
  const composer = new Composer({ uniqueKeys: false })
  const at = (offset: number) => `${file}:${Math.max(1, lines.linePos(offset).line)}`
  let last = 0
  try {
    for (const document of composer.compose(new Parser(lines.addNewLine).parse(text.replace(byteOrderMark, '')))) {
      const [error] = document.errors
      if (error) throw new BrokenText(at(error.pos[0]), `it is no YAML: ${inWords(error.code)}`)
      last = document.contents?.range?.[0] ?? document.range[0]
      const repeated = await repeatedKey(document)
      if (repeated !== undefined) throw new BrokenText(at(repeated), 'a key of a mapping is repeated')
      const origin = at(last)
      const value = detached(document)
      // An empty document, as between two `---`, is none.
      if (value !== null) yield { value, origin }
    }
  } catch (error) {
    throw error instanceof BrokenText ? error : new BrokenText(at(last), whyNoValue(error as Error))
  }
}

/** Such as `BAD_INDENT`: messages of the library quote the text. */
function inWords(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ')
}

/** Where a mapping has a key for the second time. */
async function repeatedKey(document: Document.Parsed<ParsedNode>): Promise<number | undefined> {
  const { isScalar, visit } = await import('yaml')
  let repeated: number | undefined
  visit(document, {
    Map: (_, { items }) => {
      const keys = new Set<unknown>()
      for (const { key } of items) {
        if (!isScalar(key)) continue
        // Merge keys may be repeated.
        if (keys.has(key.value) && key.value !== '<<') repeated ??= key.range?.[0] ?? 0
        keys.add(key.value)
      }
      return repeated === undefined ? undefined : visit.BREAK
    },
  })
  return repeated
}

/** The library's texts are slices that keep the whole file in memory; going through JSON cuts them loose. */
function detached(document: { toJS(): unknown }): unknown {
  return JSON.parse(JSON.stringify(document.toJS()) ?? 'null')
}

function whyNoValue(error: Error): string {
  if (error instanceof RangeError) return 'it is nested too deeply'
  if (error.message.startsWith('Excessive alias count')) return 'its aliases multiply it beyond measure'
  return 'it has an alias without its anchor, or one within itself'
}
