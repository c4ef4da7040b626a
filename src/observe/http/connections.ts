/**
 * Bounds how many connections servers have open, which may share a bound. Where all places are taken, a newcomer gets one of
 * whoever has most: so that nobody shuts others out by connections of his own.
 */

import type { Socket } from 'node:net'
import { FairPlaces } from '../rates/fairplaces.ts'

export class Connections {
  readonly #places: FairPlaces
  readonly #open = new Map<string, Socket>()
  #count = 0

  constructor(most: number) {
    this.#places = new FairPlaces(most)
  }

  /** Closes the connection if there is no place for it. */
  admit(socket: Socket, owner: string): void {
    const name = String(this.#count++)
    const { isTaken, instead } = this.#places.take(name, owner)
    if (!isTaken) return void socket.destroy()
    this.#open.set(name, socket)
    socket.once('close', () => this.#leave(name))
    if (instead === undefined) return
    this.#open.get(instead)!.destroy()
    this.#open.delete(instead)
  }

  #leave(name: string): void {
    this.#open.delete(name)
    this.#places.leave(name)
  }
}
