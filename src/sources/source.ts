/**
 * The interface of a source of Services. A source reports what exists and then what changes; it knows nothing of its
 * listeners.
 */

import type { Exclusion } from '../exclusions/exclusion.ts'
import type { Sight } from '../facts/failures.ts'
import type { Change, Kind } from '../services/objects/objects.ts'
import type { Problem } from '../services/problem.ts'

/** What a source follows by itself: all objects of a kind, or those of a scope (facts/types.ts). */
export interface Collection {
  readonly kind: Kind
  readonly scope: string
}

export interface SourceListener {
  /** Changes in the order in which they happened, as many together as are known at that moment. */
  changes(changes: readonly Change[]): void
  /** Called once, when everything that existed at the start has been reported. */
  synced(): void
  /**
   * The current problems of one origin (a file, an object, the connection): replaces the earlier ones; an empty list
   * says that all is well.
   */
  problems(origin: string, problems: readonly Problem[]): void
  /** Everything of a collection up to this resourceVersion has been reported. Not called by sources without versions. */
  progress?(collection: Collection, version: string): void
  /** All that others have found dead, in place of what they had. Called only where there was or is any. */
  exclusions?(all: readonly Exclusion[]): void
  /** The endpoints (`hostPort`, TCP) that others want to know about, in place of those of an earlier call. */
  asked?(endpoints: readonly string[]): void
}

export interface Source {
  /** Resolves when watching has begun; later problems go to the listener, never thrown. */
  start(listener: SourceListener): Promise<void>
  /**
   * Sets the namespaces whose Pods are needed beside this node's own, in place of those of an earlier call. When called
   * with changes, `synced` comes after these Pods. Absent in sources that report Pods as they find them.
   */
  needPods?(namespaces: ReadonlySet<string>): void
  /** Tells others what this node sees of endpoints, in place of what it saw. Absent where nobody is told. */
  report?(sights: readonly Sight[]): void
  stop(): Promise<void>
}
