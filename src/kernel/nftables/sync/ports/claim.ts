/** Finds the elements of one port after the other among all that the kernel has. */

import type { Bytes } from '../../bytes.ts'
import { type ElementName, type ElementSink, isShared } from '../../elements/elements.ts'
import type { FoundElements } from '../transaction/tablecache.ts'

/** Takes what a port shall have, element by element, and keeps no map of it: most ports have it all. */
export class Claim implements ElementSink {
  readonly #found: FoundElements
  readonly #names: ElementName[] = []
  #isWhole = true

  constructor(found: FoundElements) {
    this.#found = found
  }

  /** Begins the next port. */
  begin(): void {
    this.#names.length = 0
    this.#isWhole = true
  }

  set(name: ElementName, value: Bytes): void {
    if (this.#isWhole && this.#found.get(name) !== value) this.#isWhole = false
    this.#names.push(name)
  }

  /** Whether the kernel has all that the port shall have. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  /** Returns the names of the port's elements, and removes them from what was found, except those that ports share. */
  take(): readonly ElementName[] {
    for (const name of this.#names) if (!isShared(name)) this.#found.delete(name)
    return this.#names
  }
}
