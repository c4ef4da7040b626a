/** Reports what is wrong with the files of a directory by origin, which is a path, and when it is over. */

import { type Problem, problem } from '../../services/problem.ts'
import { isManifestName } from '../manifests/manifest.ts'

export class DirectoryProblems {
  readonly #tell: (origin: string, problems: readonly Problem[]) => void
  /** Whether something from an earlier state of the file applies while it cannot be read. */
  readonly #isKnown: (path: string) => boolean
  /** Origins whose problems were reported. */
  readonly #troubled = new Set<string>()
  #unreadable: ReadonlyMap<string, string> = new Map()

  constructor(tell: DirectoryProblems['report'], isKnown: (path: string) => boolean) {
    this.#tell = tell
    this.#isKnown = isKnown
  }

  report(origin: string, problems: readonly Problem[]): void {
    if (problems.length === 0 && !this.#troubled.has(origin)) return
    if (problems.length > 0) this.#troubled.add(origin)
    else this.#troubled.delete(origin)
    this.#tell(origin, problems)
  }

  /**
   * @param unreadable what cannot be read, and why
   * @returns what could not be read before, and can be now
   */
  setUnreadable(unreadable: ReadonlyMap<string, string>): readonly string[] {
    const before = this.#unreadable
    this.#unreadable = unreadable
    for (const [path, reason] of unreadable) {
      if (before.get(path) === reason) continue
      const code = isManifestName(path) ? 'LP101' : 'LP104'
      this.report(path, [this.unread(path, code, reason, 'correct its permissions or remove it')])
    }
    return [...before.keys()].filter(path => !unreadable.has(path))
  }

  /** Whether nothing is known about a file, because it or a directory above it cannot be read. */
  isHidden(path: string): boolean {
    for (const hidden of this.#unreadable.keys()) if (path === hidden || path.startsWith(`${hidden}/`)) return true
    return false
  }

  unread(path: string, code: Problem['code'], reason: string, remedy: string): Problem {
    const until = this.#isKnown(path) ? 'what it said before applies until it can be read' : 'it is left out'
    return problem(code, path, reason, `${until}; ${remedy}`)
  }
}
