/** Reads Services from a directory of manifests in YAML and JSON, and follows it as it changes. */

import type { Log } from '../../observe/log.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { isTurnOver, nextTurn } from '../../worker/turns.ts'
import { Definitions } from '../definitions.ts'
import { type FileState, isDirectory, lookAtFile, lookAtTree, messageOf } from '../manifests/file-tree.ts'
import { isSmall, ManifestReader } from '../manifests/reader.ts'
import type { Source, SourceListener } from '../source.ts'
import { DirectoryProblems } from './problems.ts'
import { DirectoryWatches } from './watches.ts'

/**
 * Objects of a file or directory that can no longer be read (LP101, LP104) stay. The origin of a file's problems is its
 * path. Everything that exists at first is reported before `synced`, which waits for the directory where there is none
 * yet.
 */
export function directorySource(path: string, options: DirectoryOptions): Source {
  return new DirectorySource(path, options)
}

export interface DirectoryOptions {
  readonly log: Log
  /** How often everything is scanned, for changes that no watch reports, such as those of a link's target. */
  readonly rescanMs?: number
}

/** A writer may pause for this long within a file or between files; each pause begins a new wait, up to a limit. */
const quietMs = 3
const longestWaitMs = 200
/** A file that is empty or broken and younger than this counts as half written, and is read again. */
const youngMs = 1000
/** When a young file is read again, and how long a file may be missing while an editor replaces it. */
const againMs = 50
const usualRescanMs = 10_000
/** The interval while the root or a watch is missing. */
const blindRescanMs = 1000
/** When names other than manifests' come and go everything is scanned, but not in one go after the other. */
const restMs = 200

interface Known {
  readonly signature: string
  /** What is wrong in the file itself. */
  readonly problems: readonly Problem[]
}

interface Findings {
  /** New or different files. */
  readonly changed: ReadonlyMap<string, FileState>
  readonly missing: ReadonlySet<string>
}

class DirectorySource implements Source {
  readonly #root: string
  readonly #log: Log
  readonly #rescanMs: number
  readonly #reader: ManifestReader
  readonly #definitions = new Definitions()
  readonly #files = new Map<string, Known>()
  readonly #watches: DirectoryWatches
  readonly #problems = new DirectoryProblems(
    (origin, problems) => this.#listener?.problems(origin, problems),
    path => this.#definitions.has(path),
  )

  #listener: SourceListener | undefined
  #touched = new Set<string>()
  #everythingTouched = true
  #firstTouch = 0
  #lastFullLook = Number.NEGATIVE_INFINITY
  /** Files that the scan before this one did not find. */
  #missing: ReadonlySet<string> = new Set()
  /** Files to read again soon. */
  readonly #young = new Map<string, NodeJS.Timeout>()
  #timer: NodeJS.Timeout | undefined
  #rescan: NodeJS.Timeout | undefined
  #look: Promise<void> | undefined
  #rootSeen = false
  #synced = false
  #stopped = false

  constructor(root: string, options: DirectoryOptions) {
    this.#root = root
    this.#log = options.log
    this.#reader = new ManifestReader(root)
    this.#rescanMs = options.rescanMs ?? usualRescanMs
    this.#watches = new DirectoryWatches(options.log, {
      file: path => this.#touch(path),
      names: () => this.#touchEverything(),
    })
  }

  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener
    this.#lookIn(0)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const timer of [this.#timer, this.#rescan, ...this.#young.values()]) clearTimeout(timer)
    await this.#reader.stop()
    await this.#look
    this.#watches.close()
  }

  #touch(path: string): void {
    this.#touched.add(path)
    this.#lookWhenQuiet()
  }

  #touchEverything(): void {
    this.#everythingTouched = true
    this.#lookWhenQuiet()
  }

  #lookWhenQuiet(): void {
    const now = performance.now()
    this.#firstTouch ||= now
    this.#lookIn(Math.max(0, Math.min(quietMs, this.#firstTouch + longestWaitMs - now)))
  }

  /** Runs one scan at a time: what is touched during a scan gets the next one. */
  #lookIn(delayMs: number): void {
    if (this.#stopped || this.#look) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#look = this.#lookNow().finally(() => {
        this.#look = undefined
        if (this.#touched.size > 0) this.#lookIn(this.#missing.size > 0 ? againMs : quietMs)
        else if (this.#everythingTouched) this.#lookIn(restMs)
      })
    }, delayMs)
  }

  async #lookNow(): Promise<void> {
    const touched = this.#touched
    this.#touched = new Set()
    const since = this.#firstTouch || performance.now()
    this.#firstTouch = 0
    const findings = await this.#find(touched)
    if (!findings || this.#stopped) return

    const { changed, missing } = findings
    const waited = performance.now() - since > longestWaitMs
    const justMissing = [...missing].filter(path => !this.#missing.has(path))
    this.#missing = missing
    if (justMissing.length > 0 && !waited) {
      // An editor may be replacing it, or it has moved: scan again before anything of this is reported.
      for (const path of [...changed.keys(), ...missing]) this.#touched.add(path)
      this.#firstTouch = since
      return
    }
    this.#missing = new Set()

    for (const path of missing) {
      this.#files.delete(path)
      this.#definitions.replace(path, [])
    }
    // The thread reads large files meanwhile.
    const { small = [], large = [] } = Object.groupBy(changed, ([path, { size }]) =>
      isSmall(path, size) ? 'small' : 'large',
    )
    await Promise.all([this.#readAll(large), this.#readAll(small)])
    if (!this.#stopped) this.#tell(new Set([...missing, ...changed.keys()]))
  }

  async #readAll(files: readonly (readonly [string, FileState])[]): Promise<void> {
    for (const [path, state] of files) {
      await this.#read(path, state)
      if (isTurnOver()) await nextTurn()
      if (this.#stopped) return
    }
  }

  /** Undefined where the root is missing: nothing is known then, and known objects stay. */
  async #find(touched: ReadonlySet<string>): Promise<Findings | undefined> {
    const changed = new Map<string, FileState>()
    const missing = new Set<string>()
    const found = (path: string, state: FileState) => {
      if (this.#files.get(path)?.signature !== state.signature) changed.set(path, state)
    }
    if (this.#everythingTouched && performance.now() - this.#lastFullLook >= restMs) {
      this.#everythingTouched = false
      const files = await this.#findAll()
      this.#lastFullLook = performance.now()
      if (!files) return undefined
      for (const [path, state] of files) found(path, state)
      for (const path of this.#files.keys()) if (!files.has(path) && !this.#problems.isHidden(path)) missing.add(path)
      return { changed, missing }
    }
    for (const path of touched) {
      try {
        const state = await lookAtFile(this.#root, path)
        if (state) found(path, state)
        else if (this.#files.has(path)) missing.add(path)
      } catch {
        this.#everythingTouched = true
      }
    }
    if (missing.size === 0 || (await isDirectory(this.#root))) return { changed, missing }
    this.#everythingTouched = true
    return undefined
  }

  async #findAll(): Promise<ReadonlyMap<string, FileState> | undefined> {
    try {
      const files = new Map<string, FileState>()
      const tree = await lookAtTree(this.#root, {
        directory: (path, identity) => this.#watches.open(path, identity),
        file: (path, state) => void files.set(path, state),
      })
      this.#watches.keepOnly(tree.directories)
      this.#rootSeen = true
      this.#problems.report(this.#root, [])
      for (const path of this.#problems.setUnreadable(tree.unreadable)) this.#reportFile(path)
      this.#rescanIn(this.#watches.complete() ? this.#rescanMs : blindRescanMs)
      return files
    } catch (error) {
      const until = this.#rootSeen
        ? 'what it said before applies until it is back'
        : 'there are no objects until it is there'
      const remedy = `${until}; create it or correct its name or permissions`
      this.#problems.report(this.#root, [problem('LP104', this.#root, messageOf(error), remedy)])
      this.#watches.keepOnly(new Map())
      this.#rescanIn(blindRescanMs)
      return undefined
    }
  }

  #rescanIn(delayMs: number): void {
    clearTimeout(this.#rescan)
    if (!this.#stopped) this.#rescan = setTimeout(() => void this.#compare(), delayMs)
  }

  /**
   * Touches what no watch has reported. It runs beside the scans, so that a change that a watch reports never waits for
   * it.
   */
  async #compare(): Promise<void> {
    const different: string[] = []
    let known = 0
    const file = (path: string, { signature }: FileState) => {
      if (this.#files.has(path)) known++
      if (this.#files.get(path)?.signature !== signature) different.push(path)
    }
    const tree = await lookAtTree(this.#root, { file }).catch(() => undefined)
    if (this.#stopped) return
    const isWhole = tree && tree.unreadable.size === 0 && known === this.#files.size
    if (!isWhole || !this.#watches.complete() || !this.#watches.match(tree.directories)) return this.#touchEverything()
    for (const path of different) this.#touch(path)
    this.#rescanIn(this.#rescanMs)
  }

  /** Keeps the file's known objects while it is being written. */
  async #read(path: string, state: FileState): Promise<void> {
    clearTimeout(this.#young.get(path))
    this.#young.delete(path)
    try {
      const manifest = await this.#reader.read(path, state.size)
      const isYoung = Math.abs(Date.now() - state.modified) < youngMs
      const mayBeHalf = manifest.broken || manifest.isBlank
      if (isYoung && mayBeHalf) this.#readAgain(path)
      else {
        for (const reason of manifest.ignored) this.#log.debug({ file: path, reason }, 'object ignored')
        this.#files.set(path, { signature: state.signature, problems: manifest.problems })
        if (manifest.broken) this.#definitions.amend(path, manifest.objects)
        else this.#definitions.replace(path, manifest.objects)
      }
    } catch (error) {
      const unread = this.#problems.unread(path, 'LP101', messageOf(error), 'correct its permissions or split it')
      this.#files.set(path, { signature: state.signature, problems: [unread] })
    }
  }

  #readAgain(path: string): void {
    const touch = () => {
      this.#young.delete(path)
      this.#touch(path)
    }
    this.#young.set(path, setTimeout(touch, againMs))
  }

  #tell(read: ReadonlySet<string>): void {
    const { changes, rivals } = this.#definitions.settle()
    if (changes.length > 0) this.#listener?.changes(changes)
    for (const path of new Set([...read, ...rivals])) this.#reportFile(path)
    if (this.#synced || !this.#rootSeen || this.#young.size > 0) return
    this.#synced = true
    this.#listener?.synced()
  }

  #reportFile(path: string): void {
    const own = this.#files.get(path)?.problems ?? []
    this.#problems.report(path, [...own, ...this.#definitions.duplicates(path)])
  }
}
