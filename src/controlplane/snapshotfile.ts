/**
 * Keeps a snapshot of what a control plane knows in a file, and restores it where the API server does not answer at the
 * start.
 */

import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Log } from '../observe/log.ts'
import type { Knowledge } from './knowledge.ts'
import { decodeSnapshot } from './snapshot.ts'

export interface SnapshotOptions {
  readonly file: string
  readonly knowledge: Knowledge
  readonly log: Log
  /** How long the API server may take to tell everything. */
  readonly patienceMs?: number
  /** How often a snapshot is written where something has changed. */
  readonly everyMs?: number
}

export interface KeptSnapshot {
  /** Resolves when nothing is written any more. */
  stop(): Promise<void>
}

export function keepSnapshot(options: SnapshotOptions): KeptSnapshot {
  const { file, knowledge, log, patienceMs = 10_000, everyMs = 60_000 } = options
  let doing: Promise<void> = Promise.resolve()
  const next = (act: () => Promise<void>, failure: string) => {
    doing = doing.then(act).catch((error: Error) => log.warn({ file, error: error.message }, failure))
  }
  const restoring = setTimeout(() => {
    if (!knowledge.isKnown) next(async () => knowledge.restore(decodeSnapshot(await readFile(file))), cannotRestore)
  }, patienceMs)
  const saving = setInterval(() => next(async () => save(file, knowledge.snapshot()), cannotSave), everyMs)
  return {
    stop: () => {
      clearTimeout(restoring)
      clearInterval(saving)
      return doing
    },
  }
}

const cannotRestore = 'the API server does not answer, and there is no snapshot that can be read'
const cannotSave = 'no snapshot was written; the one before stays'

/** A process that is killed leaves the snapshot before. */
async function save(file: string, bytes: Buffer | undefined): Promise<void> {
  if (!bytes) return
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const written = await open(`${file}.new`, 'w', 0o600)
  try {
    await written.writeFile(bytes)
    await written.sync()
  } finally {
    await written.close()
  }
  await rename(`${file}.new`, file)
}
