/**
 * Tells a control plane what this node sees of endpoints, and hears what is excluded: by one stream after another, as
 * long as the agent reads facts there. Exclusions outlive the stream that told them for as long as it said.
 */

import { type ClientDuplexStream, type StatusObject, status } from '@grpc/grpc-js'
import type { Exclusion } from '../../../exclusions/exclusion.ts'
import { encodeReport, readVerdict, type Sight, type Verdict } from '../../../facts/failures.ts'
import type { SourceListener } from '../../source.ts'
import { Backoff } from '../../watch/backoff.ts'
import { pauseMs } from '../pause.ts'

export type ExchangeStream = ClientDuplexStream<Uint8Array, Uint8Array>

export class FailureExchange {
  readonly #node: string
  readonly #listener: Pick<SourceListener, 'exclusions' | 'asked'>
  #stream: ExchangeStream | undefined
  #sights: readonly Sight[] = []
  #exclusions: readonly Exclusion[] = []
  #expiry: NodeJS.Timeout | undefined
  #reopening: NodeJS.Timeout | undefined
  readonly #backoff = new Backoff()

  constructor(node: string, listener: Pick<SourceListener, 'exclusions' | 'asked'>) {
    this.#node = node
    this.#listener = listener
  }

  /** @param open opens a stream to a control plane by which facts come now; undefined once they no longer do */
  begin(open: () => ExchangeStream | undefined): void {
    clearTimeout(this.#reopening)
    this.#backoff.reset()
    this.#follow(open)
  }

  report(sights: readonly Sight[]): void {
    this.#sights = sights
    this.#send()
  }

  stop(): void {
    clearTimeout(this.#expiry)
    clearTimeout(this.#reopening)
    this.#stream = undefined
  }

  #follow(open: () => ExchangeStream | undefined): void {
    const stream = open()
    this.#stream = stream
    if (!stream) return
    const opened = performance.now()
    stream.on('data', (bytes: Uint8Array) => {
      if (this.#stream !== stream) return
      try {
        this.#take(readVerdict(bytes))
        this.#send()
      } catch {
        stream.cancel()
      }
    })
    stream.on('status', ({ code }: StatusObject) => {
      if (this.#stream !== stream) return
      this.#stream = undefined
      this.#listener.asked?.([])
      // A control plane without this service still has the facts.
      if (code === status.UNIMPLEMENTED) return
      this.#reopening = setTimeout(() => this.#follow(open), pauseMs(performance.now() - opened, this.#backoff))
    })
    // Comes with a status, too.
    stream.on('error', () => undefined)
    this.#send()
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
