/** Writes ports without those that the kernel refuses: it names the elements of a transaction that it refuses. */

import type { Rejections } from '../../../sync/splitting.ts'
import type { ElementName } from '../../elements/elements.ts'
import { TransactionRefused } from '../../errors.ts'
import type { PortChange, PortRecord } from './record.ts'

export interface PortWriter {
  /** Writes the changes in one transaction. */
  write(changes: readonly PortChange[]): Promise<void>
  /** Records that the kernel has refused this port. */
  refuse(record: PortRecord, error: TransactionRefused): void
}

/** Writes the changes without those of ports that the kernel refuses; false where there were some. */
export async function writeWhatCan(
  changes: readonly PortChange[],
  rejections: Rejections,
  writer: PortWriter,
): Promise<boolean> {
  let left = changes
  while (left.length > 0) {
    try {
      await writer.write(left)
      break
    } catch (error) {
      if (!(error instanceof TransactionRefused)) throw error
      if (!error.isExact && left.length > 1) return await writeSingly(left, rejections, writer)
      const refused = new Set(left.filter(change => isNamed(change, error.names)))
      rejections.left -= refused.size
      if (refused.size === 0 || rejections.left < 0) throw error
      for (const { record } of refused) writer.refuse(record, error)
      left = left.filter(change => !refused.has(change))
    }
  }
  return left.length === changes.length
}

/** Writes one change at a time, where the kernel does not say which of them it refuses. */
async function writeSingly(
  changes: readonly PortChange[],
  rejections: Rejections,
  writer: PortWriter,
): Promise<boolean> {
  let areWritten = true
  for (const change of changes) areWritten = (await writeWhatCan([change], rejections, writer)) && areWritten
  return areWritten
}

/** Writes changes of ports that were never refused. Rejects on drift. */
export async function writeTrusted(
  changes: readonly PortChange[],
  rejections: Rejections,
  writer: PortWriter,
): Promise<boolean> {
  try {
    await writer.write(changes)
    return true
  } catch (error) {
    if (!(error instanceof TransactionRefused) || error.isDrift) throw error
    return await writeWhatCan(changes, rejections, writer)
  }
}

function isNamed({ current, wanted }: PortChange, names: readonly ElementName[]): boolean {
  return names.some(name => current.has(name) || wanted.has(name))
}
