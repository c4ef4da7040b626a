/**
 * Keeps a snapshot of what a control plane knows in a file, and restores it where the API server does not answer at the
 * start.
 */

import { readFile } from 'node:fs/promises'
import { replaceFile } from '../../files/replacefile.ts'
import type { Log } from '../../observe/log.ts'
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
  const save = async () => {
    const bytes = knowledge.snapshot()
    if (bytes) await replaceFile(file, bytes)
  }
  const restoring = setTimeout(() => {
    if (!knowledge.isKnown) next(async () => knowledge.restore(decodeSnapshot(await readFile(file))), cannotRestore)
  }, patienceMs)
  const saving = setInterval(() => next(save, cannotSave), everyMs)
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
