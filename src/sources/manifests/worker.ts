/** The thread that reads large manifests: bytes of the items go back, which are made objects of a few at a time. */

import { serve } from '../../worker/serve.ts'
import { BrokenText, itemsOf } from './documents.ts'
import { readText } from './file.ts'

export interface ReadRequest {
  readonly root: string
  readonly path: string
}

export interface ReadAnswer {
  readonly chunks: readonly Chunk[]
  readonly isBlank: boolean
  readonly broken: { readonly origin: string; readonly reason: string } | undefined
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
  let broken: ReadAnswer['broken']
  let lines: string[] = []
  let length = 0
  let from = ''
  const encoder = new TextEncoder()
  const pack = () => {
    if (lines.length > 0) chunks.push({ origin: from, lines: encoder.encode(lines.join('\n')) })
    lines = []
    length = 0
  }
  try {
    for await (const { value, origin } of itemsOf(path, text)) {
      if (origin !== from || length > chunkLength) pack()
      from = origin
      const line = JSON.stringify(value)
      lines.push(line)
      length += line.length
    }
    pack()
  } catch (error) {
    if (!(error instanceof BrokenText)) throw error
    broken = { origin: error.origin, reason: error.message }
  }
  const answer: ReadAnswer = { chunks: broken ? [] : chunks, isBlank: text.trim() === '', broken }
  return { answer, transfer: answer.chunks.map(chunk => chunk.lines.buffer) }
})
