/** Writes ports without those that the kernel points at: it says which element of a transaction it refuses. */

import type { Refusals } from '../../sync/splitting.ts'
import { TransactionRefused } from '../client.ts'
import type { ElementName } from '../elements/elements.ts'
import type { PortChange, PortRecord } from './record.ts'

export interface PortWriter {
  /** One transaction. */
  write(changes: readonly PortChange[]): Promise<void>
  /** The kernel has refused this port. */
  refuse(record: PortRecord, error: TransactionRefused): void
}

/** Leaves out the ports that the kernel points at. False when there were some. */
export async function writeWhatCan(
  changes: readonly PortChange[],
  refusals: Refusals,
  writer: PortWriter,
): Promise<boolean> {
  let left = changes
  while (left.length > 0) {
    try {
      await writer.write(left)
      break
    } catch (error) {
      if (!(error instanceof TransactionRefused)) throw error
      if (!error.isExact && left.length > 1) return await writeSingly(left, refusals, writer)
      const refused = new Set(left.filter(change => isNamed(change, error.names)))
      refusals.left -= refused.size
      if (refused.size === 0 || refusals.left < 0) throw error
      for (const { record } of refused) writer.refuse(record, error)
      left = left.filter(change => !refused.has(change))
    }
  }
  return left.length === changes.length
}

/** Where the kernel does not say which of them it refuses. */
async function writeSingly(changes: readonly PortChange[], refusals: Refusals, writer: PortWriter): Promise<boolean> {
  let areWritten = true
  for (const change of changes) areWritten = (await writeWhatCan([change], refusals, writer)) && areWritten
  return areWritten
}

/** Of ports that were never refused. Rejects where somebody else has changed what the kernel has. */
export async function writeTrusted(
  changes: readonly PortChange[],
  refusals: Refusals,
  writer: PortWriter,
): Promise<boolean> {
  try {
    await writer.write(changes)
    return true
  } catch (error) {
    if (!(error instanceof TransactionRefused) || error.isDrift) throw error
    return await writeWhatCan(changes, refusals, writer)
  }
}

function isNamed({ current, wanted }: PortChange, names: readonly ElementName[]): boolean {
  return names.some(name => current.has(name) || wanted.has(name))
}
