/** A set of elements that keeps 64 bits of each: of 100,000 elements neither names nor values stay in memory. */

import { randomInt } from 'node:crypto'
import type { Bytes } from '../../bytes.ts'
import type { ElementName } from '../../elements/elements.ts'

const firstPlaces = 1024
/** Other ones in each process: nobody can prepare two elements that look the same. */
const seeds = [randomInt(2 ** 32) | 0, randomInt(2 ** 32) | 0] as const
/** No byte: between name and value. */
const separator = '\u0100'

/** Elements of the same fingerprint count as one; that any two of 100,000 have it happens once in billions of times. */
export class Fingerprints {
  /** Open addressing with two numbers for each place, of which the second is 0 where it is empty. */
  #places = new Int32Array(2 * firstPlaces)
  #areClaimed = new Uint8Array(firstPlaces)
  #size = 0
  #unclaimed = 0
  // Of the element that was last looked for.
  #low = 0
  #high = 0

  add(name: ElementName, value: Bytes): void {
    const place = this.#find(name, value)
    if (this.#isTaken(place)) return
    this.#put(place, 0)
    this.#unclaimed++
    if (++this.#size * 2 > this.#areClaimed.length) this.#grow()
  }

  /** Says that somebody wants the element. False where it is not there. */
  claim(name: ElementName, value: Bytes): boolean {
    const place = this.#find(name, value)
    if (!this.#isTaken(place)) return false
    if (this.#areClaimed[place] === 0) this.#unclaimed--
    this.#areClaimed[place] = 1
    return true
  }

  isUnclaimed(name: ElementName, value: Bytes): boolean {
    const place = this.#find(name, value)
    return this.#isTaken(place) && this.#areClaimed[place] === 0
  }

  /** How many elements nobody has claimed. */
  get unclaimed(): number {
    return this.#unclaimed
  }

  /** Returns the element's place, or the empty one where it belongs. */
  #find(name: ElementName, value: Bytes): number {
    ;[this.#low, this.#high] = seeds
    this.#mix(name)
    this.#mix(separator)
    this.#mix(value)
    this.#high ||= 1
    return this.#place()
  }

  #mix(text: string): void {
    let [low, high] = [this.#low, this.#high]
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      low = Math.imul(low ^ code, 0x9e3779b1)
      high = Math.imul(high ^ code, 0x85ebca77)
      low ^= low >>> 16
      high ^= high >>> 15
    }
    this.#low = low
    this.#high = high
  }

  #place(): number {
    const [low, high] = [this.#low, this.#high]
    const mask = this.#areClaimed.length - 1
    for (let place = low & mask; ; place = (place + 1) & mask) {
      if (!this.#isTaken(place)) return place
      if (this.#places[2 * place] === low && this.#places[2 * place + 1] === high) return place
    }
  }

  #isTaken(place: number): boolean {
    return this.#places[2 * place + 1] !== 0
  }

  #put(place: number, isClaimed: number): void {
    this.#places[2 * place] = this.#low
    this.#places[2 * place + 1] = this.#high
    this.#areClaimed[place] = isClaimed
  }

  #grow(): void {
    const [places, areClaimed] = [this.#places, this.#areClaimed]
    this.#places = new Int32Array(2 * places.length)
    this.#areClaimed = new Uint8Array(2 * areClaimed.length)
    for (let place = 0; place < areClaimed.length; place++) {
      this.#low = places[2 * place]!
      this.#high = places[2 * place + 1]!
      if (this.#high !== 0) this.#put(this.#place(), areClaimed[place]!)
    }
  }
}
