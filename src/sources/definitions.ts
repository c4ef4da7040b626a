/** Tracks which file defines which object, and what changes for readers when files change. No I/O. */

import { isDeepStrictEqual } from 'node:util'
import { type Change, describeKey, type KubeObject, keyOf } from '../services/objects/objects.ts'
import { type Problem, problem } from '../services/problem.ts'
import { ShortLists } from '../services/shortlists.ts'

interface Definition {
  readonly file: string
  readonly object: KubeObject
}

/** Decides between files that define one object: the first by name applies; the next takes over when that goes. */
export class Definitions {
  /** Definitions by description of the object, in order of file names. */
  readonly #byKey = new ShortLists<Definition>()
  /** The descriptions of its objects. */
  readonly #byFile = new ShortLists<string>()
  /** What applied at the last `settle`, of the objects touched since. */
  readonly #before = new Map<string, KubeObject | undefined>()
  /** Files whose duplicates may have changed since the last `settle`. */
  #rivals = new Set<string>()

  /** From now on a file defines these objects, each once, and nothing else. */
  replace(file: string, objects: readonly KubeObject[]): void {
    const after = new Map(objects.map(object => [describeKey(keyOf(object)), object]))
    for (const key of this.#byFile.get(file)) if (!after.has(key)) this.#define(key, file, undefined)
    for (const [key, object] of after) this.#define(key, file, object)
    this.#byFile.set(file, [...after.keys()])
  }

  /** As `replace`, but earlier objects of the file stay unless these replace them. */
  amend(file: string, objects: readonly KubeObject[]): void {
    const after = new Set(objects.map(object => describeKey(keyOf(object))))
    const others = this.#byFile.get(file).filter(key => !after.has(key))
    const kept = others.map(key => this.#byKey.get(key).find(definition => definition.file === file)!.object)
    this.replace(file, [...kept, ...objects])
  }

  /** Whether a file defines anything. */
  has(file: string): boolean {
    return this.#byFile.has(file)
  }

  #define(key: string, file: string, object: KubeObject | undefined): void {
    const definitions = this.#byKey.get(key)
    if (!this.#before.has(key)) this.#before.set(key, definitions[0]?.object)
    const others = definitions.filter(definition => definition.file !== file)
    for (const other of others) this.#rivals.add(other.file).add(file)
    this.#byKey.set(key, object ? others.concat({ file, object }).sort(byFile) : others)
  }

  /** Returns what changed since the last call; an object that moves from one file to another is not removed. */
  settle(): { readonly changes: readonly Change[]; readonly rivals: ReadonlySet<string> } {
    const changes: Change[] = []
    for (const [key, before] of this.#before) {
      const after = this.#byKey.get(key)[0]?.object
      if (after) {
        if (!isDeepStrictEqual(before, after)) changes.push({ type: 'put', object: after })
      } else if (before) changes.push({ type: 'remove', key: keyOf(before) })
    }
    this.#before.clear()
    const rivals = this.#rivals
    this.#rivals = new Set()
    return { changes, rivals }
  }

  /** The objects of a file for which another file decides. */
  duplicates(file: string): readonly Problem[] {
    const problems: Problem[] = []
    for (const key of this.#byFile.get(file)) {
      const decides = this.#byKey.get(key)[0]!.file
      if (decides === file) continue
      const remedy = `the definition in ${decides} applies; remove one`
      problems.push(problem('LP103', key, `${file} and ${decides} both define it`, remedy))
    }
    return problems
  }
}

function byFile(a: Definition, b: Definition): number {
  return a.file < b.file ? -1 : 1
}
