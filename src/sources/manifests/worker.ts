/**
 * Runs in the thread that reads large manifests. It sends back the bytes of items, and objects are made of a few at a
 * time.
 */

import { serve } from '../../worker/serve.ts'
import { type Flaw, piecesOf } from './documents.ts'
import { readText } from './file.ts'

export interface ReadRequest {
  readonly root: string
  readonly path: string
}

export interface ReadAnswer {
  readonly chunks: readonly Chunk[]
  readonly isBlank: boolean
  readonly flaws: readonly Flaw[]
}

/** Items of one document, as lines of JSON. */
export interface Chunk {
  readonly origin: string
  readonly lines: Uint8Array<ArrayBuffer>
}

const chunkLength = 64 * 1024

serve(async ({ root, path }: ReadRequest) => {
  const text = readText(root, path)
  const chunks: Chunk[] = []
  const flaws: Flaw[] = []
  let lines: string[] = []
  let length = 0
  let from = ''
  const encoder = new TextEncoder()
  const pack = () => {
    if (lines.length > 0) chunks.push({ origin: from, lines: encoder.encode(lines.join('\n')) })
    lines = []
    length = 0
  }
  for await (const piece of piecesOf(path, text)) {
    if ('flaw' in piece) {
      flaws.push(piece)
      continue
    }
    if (piece.origin !== from || length > chunkLength) pack()
    from = piece.origin
    const line = JSON.stringify(piece.value)
    lines.push(line)
    length += line.length
  }
  pack()
  const answer: ReadAnswer = { chunks, isBlank: text.trim() === '', flaws }
  return { answer, transfer: chunks.map(chunk => chunk.lines.buffer) }
})
