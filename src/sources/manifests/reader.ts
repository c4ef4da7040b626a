/** Reads manifest files into what they define: small ones at once, others in a thread (worker/offload.ts). */

import { Offload, OffloadError, workerUrl } from '../../worker/offload.ts'
import { type Piece, piecesOf } from './documents.ts'
import { readText } from './file.ts'
import { type Manifest, manifestOf } from './manifest.ts'
import type { ReadAnswer, ReadRequest } from './worker.ts'

/**
 * A file that takes a few milliseconds at most is not worth a thread: the worst YAML takes 10 µs a byte, JSON a tenth.
 */
const smallYaml = 4 * 1024
const smallJson = 64 * 1024

const limits = { idleMs: 10_000, timeoutMs: 60_000, longestQueue: Number.POSITIVE_INFINITY }

export interface ReadManifest extends Manifest {
  /** The file is empty. */
  readonly isBlank: boolean
}

/** Whether a file is read at once: it takes a few milliseconds at most. */
export function isSmall(path: string, size: number): boolean {
  return size <= (isJson(path) ? smallJson : smallYaml)
}

export class ManifestReader {
  readonly #root: string
  readonly #thread: Offload<ReadRequest, ReadAnswer>

  /**
   * @param root the directory that no link may lead out of
   * @param heapMb how much memory the reading of a file may take, in MiB
   */
  constructor(root: string, heapMb = 256) {
    this.#root = root
    const worker = workerUrl(import.meta.url, './worker.ts', './manifest-worker.js')
    this.#thread = new Offload(worker, { ...limits, heapMb })
  }

  /** @throws Error with why the file cannot be read, without its content */
  async read(path: string, size: number): Promise<ReadManifest> {
    if (isSmall(path, size)) {
      const text = readText(this.#root, path)
      const pieces = piecesOf(path, text)
      return { ...(await manifestOf(path, isJson(path) ? pieces : detached(pieces))), isBlank: text.trim() === '' }
    }
    const answer = await this.#thread.run({ root: this.#root, path }).catch((error: Error) => {
      throw error instanceof OffloadError ? new Error(`to read it is too much: ${error.message}`) : error
    })
    return { ...(await manifestOf(path, piecesFrom(answer))), isBlank: answer.isBlank }
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }
}

function isJson(path: string): boolean {
  return path.endsWith('.json')
}

/** Strings of the YAML library are slices that keep the whole file in memory; going through JSON cuts them loose. */
async function* detached(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
  for await (const piece of pieces) {
    yield 'flaw' in piece ? piece : { ...piece, value: JSON.parse(JSON.stringify(piece.value) ?? 'null') }
  }
}

async function* piecesFrom({ chunks, flaws }: ReadAnswer): AsyncGenerator<Piece> {
  yield* flaws
  const decoder = new TextDecoder()
  for (const { origin, lines } of chunks) {
    for (const line of decoder.decode(lines).split('\n')) yield { value: JSON.parse(line), origin }
  }
}
