/** Splits what the kernel refuses as a whole, until the port that cannot be written stands alone. */

import { CommandError } from '../system/command.ts'

/** How many ports may still be refused before it is no fault of theirs. */
export interface Rejections {
  left: number
}

export function rejectionsAtOnce(): Rejections {
  return { left: 32 }
}

/** Writes what can be written; false when a port was refused. Rejects with errors that are not about the ports. */
export async function writeSplitting<Change>(
  changes: readonly Change[],
  rejections: Rejections,
  write: (changes: readonly Change[]) => Promise<void>,
  refuse: (change: Change, error: CommandError) => void,
): Promise<boolean> {
  try {
    await write(changes)
    return true
  } catch (error) {
    if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
    if (changes.length > 1) {
      const middle = Math.ceil(changes.length / 2)
      const first = await writeSplitting(changes.slice(0, middle), rejections, write, refuse)
      return (await writeSplitting(changes.slice(middle), rejections, write, refuse)) && first
    }
    if (rejections.left-- === 0) throw error
    refuse(changes[0]!, error)
    return false
  }
}
