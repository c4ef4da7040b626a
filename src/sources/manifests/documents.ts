/** Splits the text of a manifest, YAML or JSON, into items and flaws. Flaws are reported without quoting. */

import { isRead, listItems } from '../../services/parse/parse.ts'
import { documentsOf } from './yaml-documents.ts'

/** What should be a Kubernetes object: a document, or an item of one that is a list. */
export interface Item {
  readonly value: unknown
  /** The file with the line where the document begins. */
  readonly origin: string
}

export interface Flaw {
  /** The file, with the line where that is known. */
  readonly origin: string
  readonly flaw: string
  /** Nothing of the document can be used. */
  readonly isBroken: boolean
}

export type Piece = Item | Flaw

/** @param file the name for origins; with `.json` at its end it is JSON */
export async function* piecesOf(file: string, text: string): AsyncGenerator<Piece> {
  const bare = text.replace(/^\uFEFF/, '')
  for await (const document of file.endsWith('.json') ? jsonDocument(file, bare) : yamlDocuments(file, bare)) {
    if ('flaw' in document) yield document
    else for (const value of listItems(document.value)) yield { value, origin: document.origin }
  }
}

function* jsonDocument(file: string, text: string): Generator<Piece> {
  if (text.trim() === '') return
  try {
    yield { value: JSON.parse(text), origin: file }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    yield { origin: placeOf(error, file, text), flaw: 'it is no JSON', isBroken: true }
  }
}

/** Names the line where the error does. */
function placeOf({ message }: SyntaxError, file: string, json: string): string {
  const position = /at position (\d+)/.exec(message)?.[1]
  const end = position === undefined ? json.trimEnd().length : Number(position)
  const isKnown = position !== undefined || message.includes('end of JSON')
  return isKnown ? `${file}:${json.slice(0, end).split('\n').length}` : file
}

async function* yamlDocuments(file: string, text: string): AsyncGenerator<Piece> {
  const { readYaml } = await import('./yaml.ts')
  for (const document of documentsOf(text)) {
    const origin = `${file}:${document.line + document.leading}`
    const { apiVersion, kind } = document
    if (apiVersion !== undefined && kind !== undefined && !isRead(apiVersion, kind)) {
      // Most of a bundle is of ignored kinds, and reading them all would take time.
      yield { value: { apiVersion, kind }, origin }
      continue
    }
    const { values, flaws } = readYaml(document.text)
    for (const { line, reason, isBroken } of flaws) {
      yield { origin: `${file}:${document.line + Math.max(line, document.leading)}`, flaw: reason, isBroken }
    }
    // An empty document, as between two `---`, counts for nothing.
    for (const value of values) if (value !== null) yield { value, origin }
  }
}
