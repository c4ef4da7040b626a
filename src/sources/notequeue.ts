/**
 * Queues notes for the API server, those of each namespace by themselves: they take turns, and where too many wait the
 * oldest of the namespace that has most is dropped. So nobody's notes wait for, or give way to, another's many.
 */

import type { Note } from '../services/note.ts'
import { namespaceIn } from '../services/objects/objects.ts'

export class NoteQueue {
  readonly #longest: number
  readonly #byNamespace = new Map<string, Note[]>()
  #length = 0

  /** @param longest how many notes wait at most */
  constructor(longest: number) {
    this.#longest = longest
  }

  /** @returns whether one was dropped for it, which may be the note itself */
  add(note: Note): boolean {
    // What has no namespace has a turn, too.
    const namespace = namespaceIn(note.object)
    const own = this.#byNamespace.get(namespace)
    if (own) own.push(note)
    else this.#byNamespace.set(namespace, [note])
    if (++this.#length <= this.#longest) return false
    const [most] = [...this.#byNamespace].sort(([, a], [, b]) => b.length - a.length)
    this.#shift(...most!)
    return true
  }

  /** Removes the next one; undefined if there is none. */
  take(): Note | undefined {
    const [next] = this.#byNamespace
    if (!next) return undefined
    const [namespace, notes] = next
    // Its turn comes again behind those of the others.
    this.#byNamespace.delete(namespace)
    this.#byNamespace.set(namespace, notes)
    return this.#shift(namespace, notes)
  }

  #shift(namespace: string, notes: Note[]): Note {
    const note = notes.shift()!
    if (notes.length === 0) this.#byNamespace.delete(namespace)
    this.#length--
    return note
  }
}
