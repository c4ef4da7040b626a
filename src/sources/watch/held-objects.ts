/** Holds the objects of one kind in the state that the API last reported, and finds what changed. */

import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../observe/log.ts'
import { type Change, describeKey, type Kind, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { parseObject } from '../../services/parse/parse.ts'
import type { Problem } from '../../services/problem.ts'
import { rawObject } from '../../text/raw.ts'

export interface HeldObjectsListener {
  changes(changes: readonly Change[]): void
  /** What is wrong with one object, or nothing any more. */
  problems(object: string, problems: readonly Problem[]): void
}

export class HeldObjects {
  readonly #kind: Kind
  readonly #log: Log
  readonly #listener: HeldObjectsListener
  /** Objects by description, trimmed: the raw ones are dropped as they arrive. */
  readonly #objects = new Map<string, KubeObject>()
  readonly #troubled = new Set<string>()
  #changes: Change[] = []

  constructor(kind: Kind, log: Log, listener: HeldObjectsListener) {
    this.#kind = kind
    this.#log = log
    this.#listener = listener
  }

  /** Returns the key of the object. An unused one, such as a slice that lost its Service, is not held. */
  put(raw: unknown): string {
    const key = this.#keyIn(raw)
    const { object, problems, ignored } = parseObject(raw)
    const { resourceVersion } = rawObject(rawObject(raw).metadata)
    const version = typeof resourceVersion === 'string' ? resourceVersion : undefined
    if (ignored !== undefined) this.#log.debug({ object: key, reason: ignored }, 'object ignored')
    this.#tellProblems(key, problems)
    if (!object) this.#forget(key)
    else if (!isDeepStrictEqual(this.#objects.get(key), object)) {
      this.#objects.set(key, object)
      this.#changes.push({ type: 'put', object, version })
    }
    return key
  }

  /** Returns the key of the object. */
  remove(raw: unknown): string {
    const key = this.#keyIn(raw)
    this.#tellProblems(key, [])
    this.#forget(key)
    return key
  }

  /** Removes all objects but those with these keys. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.#objects.keys()) if (!keys.has(key)) this.#forget(key)
    for (const key of this.#troubled) if (!keys.has(key)) this.#tellProblems(key, [])
  }

  /** Gives the listener what has changed since the last call. */
  tell(): void {
    const changes = this.#changes
    this.#changes = []
    if (changes.length > 0) this.#listener.changes(changes)
  }

  #forget(key: string): void {
    const object = this.#objects.get(key)
    if (object && this.#objects.delete(key)) this.#changes.push({ type: 'remove', key: keyOf(object) })
  }

  #tellProblems(key: string, problems: readonly Problem[]): void {
    if (problems.length > 0) this.#troubled.add(key)
    else if (!this.#troubled.delete(key)) return
    this.#listener.problems(key, problems)
  }

  #keyIn(raw: unknown): string {
    const { namespace, name } = rawObject(rawObject(raw).metadata)
    return describeKey({
      kind: this.#kind,
      namespace: typeof namespace === 'string' ? namespace : '',
      name: typeof name === 'string' ? name : '',
    })
  }
}
