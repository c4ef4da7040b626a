/**
 * An nft that is ready for the next transaction: to be started takes a program most of the time that a small transaction
 * takes. It reads of the kernel what it needs only after its input, so that it may wait for long.
 */

import { type CommandPrefix, StartedCommand } from './command.ts'
import { applyCommand, Nft } from './nft.ts'

export class StandbyNft extends Nft {
  readonly #prefix: CommandPrefix | undefined
  #standby: StartedCommand | undefined
  #isClosed = false

  constructor(prefix: CommandPrefix | undefined) {
    super(prefix)
    this.#prefix = prefix
  }

  override async apply(text: string): Promise<void> {
    const command = this.#standby
    this.#standby = undefined
    try {
      await (command && !command.hasEnded ? command.run({ input: text }) : super.apply(text))
    } finally {
      if (!this.#isClosed) this.#standby ??= new StartedCommand(applyCommand, this.#prefix)
    }
  }

  /** Ends the one that waits; there is no other. */
  close(): void {
    this.#isClosed = true
    this.#standby?.cancel()
    this.#standby = undefined
  }
}
