/**
 * Tells a control plane what this node sees of endpoints, and hears what is excluded: by one stream after another.
 * Exclusions outlive the stream that told them for as long as it said.
 */

import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { Exclusion } from '../../../exclusions/exclusion.ts'
import { encodeReport, readVerdict, type Sight, type Verdict } from '../../../facts/failures.ts'
import type { SourceListener } from '../../source.ts'

export type ExchangeStream = ClientDuplexStream<Uint8Array, Uint8Array>

export class FailureExchange {
  readonly #node: string
  readonly #listener: Pick<SourceListener, 'exclusions' | 'asked'>
  #stream: ExchangeStream | undefined
  #sights: readonly Sight[] = []
  #exclusions: readonly Exclusion[] = []
  #expiry: NodeJS.Timeout | undefined

  constructor(node: string, listener: Pick<SourceListener, 'exclusions' | 'asked'>) {
    this.#node = node
    this.#listener = listener
  }

  /** Goes on by this stream. A control plane without this service ends it, and facts go on. */
  open(stream: ExchangeStream): void {
    this.#stream = stream
    stream.on('data', (bytes: Uint8Array) => {
      if (this.#stream !== stream) return
      try {
        this.#take(readVerdict(bytes))
        this.#send()
      } catch {
        stream.cancel()
      }
    })
    const isOver = () => {
      if (this.#stream !== stream) return
      this.#stream = undefined
      this.#listener.asked?.([])
    }
    stream.on('status', isOver)
    // Comes with a status, too.
    stream.on('error', () => undefined)
    this.#send()
  }

  report(sights: readonly Sight[]): void {
    this.#sights = sights
    this.#send()
  }

  stop(): void {
    clearTimeout(this.#expiry)
    this.#stream = undefined
  }

  #take({ exclusions, validMs, asked }: Verdict): void {
    this.#listener.asked?.(asked)
    if (exclusions === undefined) return
    clearTimeout(this.#expiry)
    this.#set(exclusions)
    if (exclusions.length > 0) this.#expiry = setTimeout(() => this.#set([]), validMs)
  }

  #set(exclusions: readonly Exclusion[]): void {
    if (exclusions.length > 0 || this.#exclusions.length > 0) this.#listener.exclusions?.(exclusions)
    this.#exclusions = exclusions
  }

  #send(): void {
    this.#stream?.write(encodeReport({ node: this.#node, sights: this.#sights }))
  }
}
