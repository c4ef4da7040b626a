/** A listener for tests of sources, which keeps what it gets as the service table would. */

import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../observe/log.ts'
import { type Change, describeKey, type KubeObject, keyOf } from '../services/objects/objects.ts'
import { formatProblem, type Problem } from '../services/problem.ts'
import type { SourceListener } from './source.ts'

const quiet = () => {}

export const silentLog: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet }

export class RecordingListener implements SourceListener {
  /** Objects by description. */
  readonly objects = new Map<string, KubeObject>()
  /** `put Service shop/cart`, `remove …`, in order. */
  readonly history: string[] = []
  readonly troubles = new Map<string, readonly Problem[]>()
  timesSynced = 0
  /** Puts that changed nothing, and removals of what was not there. */
  readonly phantoms: string[] = []

  changes(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = describeKey(change.type === 'put' ? keyOf(change.object) : change.key)
      const line = `${change.type} ${key}`
      this.history.push(line)
      if (change.type === 'put') {
        if (isDeepStrictEqual(this.objects.get(key), change.object)) this.phantoms.push(line)
        this.objects.set(key, change.object)
      } else if (!this.objects.delete(key)) this.phantoms.push(line)
    }
  }

  synced(): void {
    this.timesSynced++
  }

  problems(origin: string, problems: readonly Problem[]): void {
    if (problems.length === 0) this.troubles.delete(origin)
    else this.troubles.set(origin, problems)
  }

  /** The current problems, a line each. */
  told(): readonly string[] {
    return [...this.troubles.values()].flat().map(formatProblem)
  }
}

/** Waits until the condition holds; fails with what `describe` says when it does not within the time. */
export async function until(condition: () => boolean, describe: () => string, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${describe()}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
