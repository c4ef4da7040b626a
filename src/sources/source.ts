/** Where Services come from. A source tells what is there and then what changes; it knows nothing of who listens. */

import type { Change } from '../services/objects/objects.ts'
import type { Problem } from '../services/problem.ts'

export interface SourceListener {
  /** Changes in the order in which they happened, as many together as are known at that moment. */
  changes(changes: readonly Change[]): void
  /** Once, when everything that existed at the start has been told. */
  synced(): void
  /**
   * The problems of one origin (a file, an object, the connection) as they are now: replaces what was said of it
   * before; an empty list says that all is well.
   */
  problems(origin: string, problems: readonly Problem[]): void
}

export interface Source {
  /** Resolves when watching has begun; problems after that go to the listener, never thrown. */
  start(listener: SourceListener): Promise<void>
  /**
   * Pods of these namespaces, and no longer of those that an earlier call named, are needed beside this node's own. Called
   * with changes, `synced` comes after these Pods. Absent where Pods are told as they are found.
   */
  needPods?(namespaces: ReadonlySet<string>): void
  stop(): Promise<void>
}
